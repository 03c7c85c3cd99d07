"""What a request asks: one question about a picture that comes with it or came before."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from f2edge.asking.tiles import check_tiled
from f2edge.asking.tiling import DEFAULT_NMS, DEFAULT_OVERLAP, tiling_of
from f2edge.image import picture_size
from f2edge.serve.refusals import bad_request
from f2edge.tasks.labels import text_of, wanted_labels
from f2edge.tasks.structured import check_structured
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from f2edge.model import Florence2
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
    def question(self) -> dict[str, Any]:
        """The arguments of :meth:`f2edge.EncodedImage.run`."""
        left_out = ("image", "image_id", "tile", "timeout")
        return {name: value for name, value in asdict(self).items() if name not in left_out}


def check(wanted: Wanted, model: Florence2, settings: Settings) -> None:
    """Refuse what is wrong before a worker is taken.  Regions are checked later, against the decoded picture.

    Raises:
        Refusal: the picture is missing, or the text is too long.
        InputError: the question is wrong, or the picture is none or too large.
    """
    _check_picture(wanted, settings)
    _check_lengths(wanted, settings.characters)
    task = resolve(wanted.task)
    check_structured(task, wanted.structured)
    labels = wanted_labels(task, wanted.labels)
    if tiling_of(wanted.tile, DEFAULT_OVERLAP, DEFAULT_NMS):
        check_tiled(task)
    if not (wanted.region and task.input == "region"):
        model.prompt_ids(build_prompt(task, text_of(task, wanted.text, labels), wanted.region))
    model.settings(wanted.num_beams, wanted.max_new_tokens)


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
