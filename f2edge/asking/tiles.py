"""Ask about a large picture tile by tile, so that small objects are seen, and join what is found.

The model shrinks every picture to its own size, so that small objects of a large one vanish.  The whole picture is
asked about, too: objects that are larger than a tile come from there.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from f2edge.asking.many import DEFAULT_BATCH, answer_many
from f2edge.asking.many import Model as BatchModel
from f2edge.asking.merging import join
from f2edge.asking.questions import Ask
from f2edge.asking.stopped import StoppedError, many_stopped_error, stopped_error
from f2edge.asking.tiling import Tiling
from f2edge.errors import InputError, TaskError
from f2edge.image import load_image
from f2edge.tasks.table import resolve, short_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from PIL import Image

    from f2edge.asking.questions import Encoded, Question
    from f2edge.asking.tiling import Box
    from f2edge.decoding.stopping import StopSignal
    from f2edge.image import ImageSource
    from f2edge.result import Result
    from f2edge.tasks.table import Task

TASKS = ("<OD>", "<DENSE_REGION_CAPTION>", "<REGION_PROPOSAL>", "<OCR_WITH_REGION>")
"""The tasks that are about everything in a picture and locate it, so that the answers about its parts can be joined."""


class Model(BatchModel, Protocol):
    """What tiles need of a model; :class:`f2edge.Florence2` is one."""

    def answer(self, image: ImageSource | Encoded, question: Question, signal: StopSignal) -> Result:
        """Answer one question about one picture, which may be encoded already."""
        ...


def check_tiled(task: Task) -> None:
    """Refuse tiles where the answers about them cannot be joined.

    Raises:
        TaskError: the task does not locate everything in a picture.
    """
    if task.name not in TASKS:
        names = ", ".join(map(short_name, TASKS))
        asked = task.name or "a free prompt"
        raise TaskError(f"`tile` is for tasks that locate everything in a picture ({names}), not for {asked}")


class _Plan(NamedTuple):
    """What the answers about the places of a picture are joined by."""

    task: Task
    places: list[Box]
    nms: float

    def join(self, parts: list[Result]) -> Result:
        """Join the answers about the first places, or about all."""
        return join(self.task, parts, self.places, self.nms)


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
    plan = _Plan(task, tiling.places(picture.size), tiling.nms)
    parts: list[Result] = []
    try:
        parts.extend(_answers(model, _pictures(picture, plan.places, whole), question, signal))
    except StoppedError as error:
        if error.result is not None:
            parts.append(error.result)
        raise stopped_error(signal, plan.join(parts) if parts else None) from None
    return plan.join(parts)


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


def answer_many_tiled(model: Model, asks: Iterable[Ask], batch: int, signal: StopSignal) -> Iterator[Result]:
    """Answer questions in batches, to which the tiles of a question belong like other pictures.

    See :meth:`f2edge.Florence2.run_many`.

    Raises:
        InputError: ``batch`` is no whole number of at least 1; at the call.
    """
    plans: deque[_Plan | None] = deque()
    return _joined(answer_many(model, _parts(asks, plans), batch, signal), plans, signal)


def _parts(asks: Iterable[Ask], plans: deque[_Plan | None]) -> Iterator[Ask]:
    """Yield the questions, in place of one with tiles those about its picture and each tile; note how to join them.

    Raises:
        InputError: the task does not locate everything in a picture, or there would be too many tiles.
    """
    for ask in asks:
        if not isinstance(ask, Ask) or ask.tile is None or ask.image is None:
            plans.append(None)
            yield ask
            continue
        task, tiling = resolve(ask.task), Tiling(ask.tile, ask.overlap, ask.nms)
        check_tiled(task)
        picture = _picture(ask.image)
        plan = _Plan(task, tiling.places(picture.size), tiling.nms)
        plans.append(plan)
        for one in _pictures(picture, plan.places, None):
            yield replace(ask, image=one, tile=None)


def _picture(image: ImageSource | Encoded) -> Image.Image:
    """Return the picture that a question has.

    Raises:
        InputError: it is encoded, and its pixels are gone.
    """
    if hasattr(image, "features"):
        raise InputError("an encoded image has no pixels to cut into tiles; give the picture, or leave `tile` out")
    return load_image(image)


def _joined(results: Iterator[Result], plans: deque[_Plan | None], signal: StopSignal) -> Iterator[Result]:
    """Yield the results of the questions; those about tiles are joined.

    Raises:
        StoppedError: the signal asked to stop; after the answers that are whole.
    """
    answered = 0
    try:
        for first in results:
            plan = plans.popleft()
            if plan is None:
                yield first
            else:
                yield plan.join([first, *islice(results, len(plan.places) - 1)])
            answered += 1
    except StoppedError:
        raise many_stopped_error(signal, answered) from None
