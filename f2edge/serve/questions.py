"""What a request asks: one question about a picture that comes with it or came before, and whether it may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.asking.preparing import check, prepare
from f2edge.asking.questions import Question
from f2edge.asking.tiles import check_tiled
from f2edge.asking.tiling import DEFAULT_NMS, DEFAULT_OVERLAP, Tiling, tiling_of
from f2edge.image import picture_size
from f2edge.serve.refusals import bad_request
from f2edge.tasks.table import resolve

if TYPE_CHECKING:
    from f2edge.asking.encoded import EncodedImage
    from f2edge.asking.questions import Asked
    from f2edge.model import Florence2
    from f2edge.serve.pictures import Pictures
    from f2edge.serve.settings import Settings
    from f2edge.tasks.table import Region


@dataclass(frozen=True)
class Wanted:
    """The fields of a request; see :meth:`f2edge.Florence2.run`.

    Args:
        image: the bytes of a picture file.
        image_id: a picture that was sent before, in place of ``image``.
        task: the other fields are the arguments of :meth:`f2edge.Florence2.run`.
    """

    task: str
    image: bytes | None = None
    image_id: str | None = None
    text: str | None = None
    labels: list[str] | None = None
    region: Region | None = None
    num_beams: int | None = None
    max_new_tokens: int | None = None
    structured: bool = False
    tile: int | None = None
    timeout: float | None = None

    @property
    def question(self) -> Question:
        """What is asked, without the picture."""
        limits = (self.num_beams, self.max_new_tokens, None)
        return Question(self.task, self.text, self.region, *limits, self.labels, self.structured)

    @property
    def tiling(self) -> Tiling | None:
        """How the picture is cut; None if it is not.

        Raises:
            InputError: ``tile`` is no size of a tile.
        """
        return tiling_of(self.tile, DEFAULT_OVERLAP, DEFAULT_NMS)


@dataclass(frozen=True)
class Accepted:
    """A question that a worker may answer.

    Args:
        wanted: the question.
        image: its picture, if that was sent before; it is kept until the answer, whoever else comes.
        asked: the question as the engine takes it; None if that takes the size of a picture that is not decoded yet.
    """

    wanted: Wanted
    image: EncodedImage | None
    asked: Asked | None

    def about(self, image: EncodedImage) -> Asked:
        """Return the question about its picture as the engine takes it.

        Raises:
            InputError: the region is not one of this picture.
        """
        return self.asked or image.asked(self.wanted.question)


def accept(wanted: Wanted, model: Florence2, settings: Settings, pictures: Pictures) -> Accepted:
    """Refuse what is wrong before a worker is taken, and prepare the question.

    A region of a picture that came with the question is checked later, against the decoded picture.

    Raises:
        Refusal: the picture is missing or not kept any more, or the text is too long.
        InputError: the question is wrong, or the picture is none or too large.
    """
    _check_picture(wanted, settings)
    _check_lengths(wanted, settings.characters)
    task = resolve(wanted.task)
    if wanted.tiling:
        check_tiled(task)
    if wanted.image_id is not None:
        image = pictures.get(wanted.image_id)
        return Accepted(wanted, image, image.asked(wanted.question))
    if wanted.region and task.input == "region":
        check(model, wanted.question)
        return Accepted(wanted, None, None)
    return Accepted(wanted, None, prepare(model, wanted.question))


def _check_picture(wanted: Wanted, settings: Settings) -> None:
    if (wanted.image is None) == (wanted.image_id is None):
        raise bad_request("a question is about one picture: send image, or the image_id of one that was sent before")
    if wanted.tile is not None and wanted.image is None:
        raise bad_request("tile needs the picture itself, of which only the features are kept: send image")
    if wanted.image is not None:
        picture_size(wanted.image, settings.pixels)


def _check_lengths(wanted: Wanted, most: int) -> None:
    labels = wanted.labels if isinstance(wanted.labels, list) else []
    for name, text in (("text", wanted.text), ("labels", "".join(label for label in labels if isinstance(label, str)))):
        if isinstance(text, str) and len(text) > most:
            raise bad_request(f"{name} has {len(text):,} characters; the server takes {most:,}", "limit")
