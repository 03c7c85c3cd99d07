"""Ask about a large picture tile by tile, so that small objects are seen, and join what is found.

The model shrinks every picture to its own size, so that small objects of a large one vanish.  The whole picture is
asked about, too: objects that are larger than a tile come from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from f2edge.asking.many import DEFAULT_BATCH, answer_many
from f2edge.asking.many import Model as BatchModel
from f2edge.asking.merging import join
from f2edge.asking.questions import Ask
from f2edge.asking.stopped import StoppedError, stopped_error
from f2edge.errors import InputError, TaskError
from f2edge.image import load_image
from f2edge.lines import shown
from f2edge.numbers import is_number, is_whole
from f2edge.tasks.table import resolve, short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from f2edge.asking.questions import Encoded, Question
    from f2edge.decoding.stopping import StopSignal
    from f2edge.image import ImageSource
    from f2edge.result import Result
    from f2edge.tasks.table import Task

DEFAULT_OVERLAP = 0.2
DEFAULT_NMS = 0.5
TASKS = ("<OD>", "<DENSE_REGION_CAPTION>", "<REGION_PROPOSAL>", "<OCR_WITH_REGION>")
"""The tasks that are about everything in a picture and locate it, so that the answers about its parts can be joined."""

_LEAST_TILE = 16
_MOST_TILES = 2500
Box = tuple[int, int, int, int]


class Model(BatchModel, Protocol):
    """What tiles need of a model; :class:`f2edge.Florence2` is one."""

    def answer(self, image: ImageSource | Encoded, question: Question, signal: StopSignal) -> Result:
        """Answer one question about one picture, which may be encoded already."""
        ...


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut, and how what is found in its parts is joined.

    Args:
        tile: side of a tile in pixels of the picture.
        overlap: the least share of a tile that it has in common with the next one, 0 to less than 1.
        nms: two objects with an IoU of at least this are the same one, of which the more certain stays; 0 to 1.
    """

    tile: int
    overlap: float = DEFAULT_OVERLAP
    nms: float = DEFAULT_NMS

    def __post_init__(self) -> None:
        """Refuse what cannot be cut or joined.

        Raises:
            InputError: a value is of the wrong kind or out of its range.
        """
        if not is_whole(self.tile) or self.tile < _LEAST_TILE:
            raise InputError(f"`tile` is {shown(self.tile)}; give a side of at least {_LEAST_TILE} pixels")
        if not is_number(self.overlap) or not 0 <= self.overlap < 1:
            raise InputError(f"`overlap` is {shown(self.overlap)}; give a share from 0 to less than 1")
        if not is_number(self.nms) or not 0 < self.nms <= 1:
            raise InputError(f"`nms` is {shown(self.nms)}; give an IoU above 0 and up to 1")

    def cut(self, size: tuple[int, int]) -> list[Box]:
        """Return the tiles (x1, y1, x2, y2) of a picture of `size` (width, height), from top left to bottom right.

        None if the whole picture is no larger than a tile.

        Raises:
            InputError: there would be too many.
        """
        columns, rows = (self._starts(length) for length in size)
        if len(columns) * len(rows) > _MOST_TILES:
            raise InputError(
                f"tiles of {self.tile} pixels are {len(columns) * len(rows):,} in a picture of {size[0]} x {size[1]};"
                f" the most is {_MOST_TILES:,}: make `tile` larger"
            )
        if len(columns) * len(rows) == 1:
            return []
        sides = [min(self.tile, length) for length in size]
        return [(x, y, x + sides[0], y + sides[1]) for y in rows for x in columns]

    def _starts(self, length: int) -> list[int]:
        """Return where tiles begin along one side: the first at 0, the last ends at the end, all at equal distances."""
        rest = length - self.tile
        if rest <= 0:
            return [0]
        gaps = math.ceil(rest / max(self.tile * (1 - self.overlap), 1))
        return [round(rest * k / gaps) for k in range(gaps + 1)]


def tiling_of(tile: int | None, overlap: float, nms: float) -> Tiling | None:
    """Return how a caller wants a picture cut; None without ``tile``."""
    return None if tile is None else Tiling(tile, overlap, nms)


def check_tiled(task: Task) -> None:
    """Refuse tiles where the answers about them cannot be joined.

    Raises:
        TaskError: the task does not locate everything in a picture.
    """
    if task.name not in TASKS:
        names = ", ".join(map(short_name, TASKS))
        asked = task.name or "a free prompt"
        raise TaskError(f"`tile` is for tasks that locate everything in a picture ({names}), not for {asked}")


def answer_tiles(
    model: Model,
    image: ImageSource,
    question: Question,
    tiling: Tiling,
    signal: StopSignal,
    whole: Encoded | None = None,
) -> Result:
    """Ask about the whole picture and all tiles, and join the objects.

    Args:
        model: the model that is asked.
        image: the picture.
        question: what is asked.
        tiling: how the picture is cut.
        signal: stops the answer.
        whole: the picture as the model has encoded it, if it has.

    Raises:
        InputError: the task does not locate everything in a picture, or there would be too many tiles.
        StoppedError: the signal asked to stop; its result has the objects of the tiles until then.
    """
    task = resolve(question.task)
    check_tiled(task)
    picture = load_image(image)
    places = [(0, 0, *picture.size), *tiling.cut(picture.size)]
    parts: list[Result] = []
    try:
        parts.extend(_answers(model, _pictures(picture, places, whole), question, signal))
    except StoppedError as error:
        if error.result is not None:
            parts.append(error.result)
        raise stopped_error(signal, join(task, parts, places, tiling.nms) if parts else None) from None
    return join(task, parts, places, tiling.nms)


def _pictures(picture: Image.Image, places: list[Box], whole: Encoded | None) -> Iterator[Image.Image | Encoded]:
    yield picture if whole is None else whole
    yield from map(picture.crop, places[1:])


def _answers(
    model: Model, pictures: Iterator[Image.Image | Encoded], question: Question, signal: StopSignal
) -> Iterator[Result]:
    """Answer the question about each picture: in batches, or one after the other if it may be stopped at any step."""
    if signal.possible:
        return (model.answer(one, question, signal) for one in pictures)
    return answer_many(model, (Ask(one, **question._asdict()) for one in pictures), DEFAULT_BATCH)
