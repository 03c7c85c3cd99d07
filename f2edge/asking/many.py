"""Answer many questions in batches: the decoder takes each step for all questions of a batch together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import groupby, islice, takewhile
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple, Protocol

from f2edge.asking.helpers import Helpers
from f2edge.asking.questions import Ask
from f2edge.asking.stopped import StoppedError, many_stopped_error
from f2edge.asking.stopwatch import Stopwatch
from f2edge.decoding import generate_together
from f2edge.decoding.stopping import NEVER, StopRequestedError
from f2edge.engine import takes_batches
from f2edge.errors import F2EdgeError, InputError
from f2edge.lines import shown
from f2edge.numbers import is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from f2edge.asking.questions import Asked, Encoded
    from f2edge.decoding.stopping import StopSignal
    from f2edge.engine import Runtime
    from f2edge.image import ImageSource
    from f2edge.result import Result

DEFAULT_BATCH = 8
_BATCHES_AHEAD = 2
"""How many batches of questions are read ahead, and sorted, so that a batch has questions of similar lengths."""


class Model(Protocol):
    """What batches need of a model; :class:`f2edge.Florence2` is one."""

    @property
    def runtime(self) -> Runtime:
        """The engine."""
        ...

    @property
    def workers(self) -> int:
        """How many answers, or batches of them, are computed at the same time."""
        ...

    def encoded(self, image: ImageSource | Encoded, signal: StopSignal) -> Encoded:
        """Return the encoded image, which a question may hold already."""
        ...

    def worker(self, signal: StopSignal, *, next_step: bool = False) -> AbstractContextManager[None]:
        """Wait for a free worker, and keep it until the end of the block; see :meth:`f2edge.Florence2.worker`."""
        ...


class Prepared(NamedTuple):
    """A question whose picture is encoded; ``place`` is its position in the order of the answers.

    ``source`` keeps the picture alive, by whose identity the window knows it: another one may get that of a dead one.
    """

    place: int
    image: Encoded
    asked: Asked
    source: ImageSource | Encoded | None = None


def about(image: Encoded, asks: Iterable[Ask | str]) -> Iterator[Ask]:
    """Turn what is asked of an encoded image into questions about it.

    Raises:
        InputError: something is no question, or is about another image; when it is reached.
    """
    for ask in asks:
        one = Ask(None, ask) if isinstance(ask, str) else ask
        if not isinstance(one, Ask) or not (one.image is None or one.image is image):
            raise InputError(
                f"{shown(ask)} is no question about this image; give the name of a task, or f2edge.Ask(None, task, ...)"
            )
        if one.tile is not None:
            raise InputError("an encoded image has no pixels to cut into tiles; give the picture to `run_many`")
        yield replace(one, image=image)


def answer_many(model: Model, asks: Iterable[Ask], batch: int, signal: StopSignal = NEVER) -> Iterator[Result]:
    """Answer questions in batches; see :meth:`f2edge.Florence2.run_many`.

    Raises:
        InputError: ``batch`` is no whole number of at least 1; at the call.
    """
    if not is_whole(batch) or batch < 1:
        raise InputError(f"`batch` is {shown(batch)}; it must be a whole number of at least 1")
    return _answers(model, iter(asks), int(batch), signal)


def _answers(model: Model, asks: Iterator[Ask], batch: int, signal: StopSignal) -> Iterator[Result]:
    error: Exception | None = None
    answered = 0
    while error is None:
        window, error = _prepare(model, asks, batch * max(_BATCHES_AHEAD, model.workers), signal)
        if not window and error is None:
            return
        results: dict[int, Result] = {}
        try:
            _answer_window(model, window, batch, signal, results)
        except StoppedError as stopped:
            error = stopped
        in_order = list(takewhile(results.__contains__, range(len(window))))
        yield from (results[place] for place in in_order)
        answered += len(in_order)
    raise many_stopped_error(signal, answered) if isinstance(error, StoppedError) else error


def _prepare(
    model: Model, asks: Iterator[Ask], count: int, signal: StopSignal
) -> tuple[list[Prepared], Exception | None]:
    """Encode the pictures of the next questions; return also the error of the first question that is wrong."""
    read, error = _read(asks, count)
    window: list[Prepared] = []
    with Helpers(model.workers) as helpers:
        pictures = _begin_to_encode(model, read, helpers, signal)
        try:
            for place, ask in enumerate(read):
                image = pictures[_key(ask.image)]()
                window.append(Prepared(place, image, image.asked(ask.question), ask.image))
        except F2EdgeError as wrong:
            error = wrong
    return window, error


def _read(asks: Iterator[Ask], count: int) -> tuple[list[Ask], Exception | None]:
    """Return the next questions, up to the first one that is none, and its error."""
    read: list[Ask] = []
    try:
        read.extend(_with_image(ask) for ask in islice(asks, count))
    except F2EdgeError as error:
        return read, error
    return read, None


def _with_image(ask: Ask) -> Ask:
    if not isinstance(ask, Ask):
        raise InputError(f"{shown(ask)} is no question; give an f2edge.Ask")
    if ask.image is None:
        raise InputError(f"the question about {shown(ask.task)} has no image; give one as its first argument")
    return ask


def _begin_to_encode(
    model: Model, asks: Sequence[Ask], helpers: Helpers, signal: StopSignal
) -> dict[Hashable, Callable[[], Encoded]]:
    """Have each picture encoded, once; return what waits for it."""
    pictures = {_key(ask.image): ask.image for ask in asks if ask.image is not None}
    return {key: helpers.begin(partial(model.encoded, picture, signal)) for key, picture in pictures.items()}


def _key(image: ImageSource | Encoded | None) -> Hashable:
    """Return what tells pictures apart: a path, or the identity of anything else, as long as that lives."""
    return str(image) if isinstance(image, (str, PathLike)) else id(image)


def _answer_window(
    model: Model, window: Sequence[Prepared], batch: int, signal: StopSignal, results: dict[int, Result]
) -> None:
    """Answer the questions of a window, a batch on each worker at a time; note each result by its place.

    Raises:
        StoppedError: the signal asked to stop; the results until then are noted.
        DeviceError: the engine failed.
    """
    with Helpers(model.workers) as helpers:
        batches = _batches(window, batch, model.workers)
        for wait in [helpers.begin(partial(results.update, _answer(model, one, signal))) for one in batches]:
            wait()


def answer_prepared(model: Model, questions: Sequence[Prepared], signal: StopSignal) -> Iterator[tuple[int, Result]]:
    """Answer questions about encoded pictures together on one worker; yield the place and the result of each.

    Those with as many beams are one batch.

    Raises:
        StopRequestedError, StoppedError: the signal asked to stop; after the answers that are whole.
        DeviceError: the engine failed.
    """
    for group in _batches(questions, len(questions)):
        yield from _answer(model, group, signal)


def _batches(window: Sequence[Prepared], batch: int, workers: int = 1) -> Iterator[list[Prepared]]:
    """Put questions with as many beams, and of similar lengths, into batches; no worker is left without one."""
    ordered = sorted(window, key=lambda one: (_beams(one), one.asked.task.name, len(one.asked.prompt_ids)))
    for _, alike in groupby(ordered, key=_beams):
        group = list(alike)
        size = min(batch, -(-len(group) // workers))
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _beams(one: Prepared) -> int:
    return one.asked.settings.num_beams


def _answer(model: Model, batch: Sequence[Prepared], signal: StopSignal) -> Iterator[tuple[int, Result]]:
    """Yield the place and the result of each question of a batch."""
    with model.worker(signal):
        if len(batch) == 1 or not takes_batches(model.runtime):
            yield from ((one.place, one.image.answer(one.asked, signal)) for one in batch)
        else:
            yield from _answer_together(model, batch, signal)


def _answer_together(model: Model, batch: Sequence[Prepared], signal: StopSignal) -> Iterator[tuple[int, Result]]:
    """Yield the place and the result of each question; the decoder takes its steps for all of them.

    Raises:
        StopRequestedError: the signal asked to stop.
    """
    runtime, clock = model.runtime, Stopwatch()
    assert takes_batches(runtime)
    session = runtime.start_many([(one.image.features, one.asked.prompt_ids) for one in batch], signal)
    clock.lap("encoder", len(batch))
    generations = generate_together(session, [(one.asked.settings, one.asked.structure) for one in batch], signal)
    clock.lap("decode", len(batch))
    if signal.reason:
        raise StopRequestedError
    for one, (generation, steps) in zip(batch, generations, strict=True):
        own = Stopwatch({**one.image.timings_ms, **clock.laps})
        yield one.place, replace(one.image.result(one.asked.task, generation, own), steps=steps)
