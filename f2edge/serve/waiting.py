"""The queue in front of the workers: bounded, so that whoever does not find a place is told so at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from f2edge.serve.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

BATCH = 8
"""The most questions that a worker answers together."""
_LONGEST_WAIT = 60
_WEIGHT = 0.2  # of the latest answer in the mean


@dataclass(frozen=True)
class _Waiting:
    """Work that waits for a worker; ``question`` is None if it is done by itself."""

    work: Callable[[], Any]
    question: Any
    future: Future[Any] = field(default_factory=Future)


class WaitingRoom:
    """Questions that are answered or wait for a worker, first come, first served.

    Args:
        workers: questions, or batches of them, that are answered at the same time.
        queue: questions that may wait.
        together: answers several questions, and returns the answer or the error of each.
    """

    def __init__(
        self, workers: int, queue: int, together: Callable[[Sequence[Any]], Sequence[Any]] | None = None
    ) -> None:
        self.workers, self.places = workers, workers + queue
        self._together = together
        self._line: deque[_Waiting] = deque()
        self.inside = 0
        """Questions that are answered or wait."""
        self.arriving = 0
        """Questions of which the body is being read."""
        self._mean = 1.0
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="f2edge-serve")

    @property
    def waiting(self) -> int:
        """Questions that wait for a worker."""
        return max(0, self.inside - self.workers)

    def is_full(self, coming: int = 0) -> bool:
        """Tell whether all places are taken, or as many questions arrive already, with so many that are about to."""
        return self.inside >= self.places or self.arriving + coming >= self.places

    @contextmanager
    def arrival(self) -> Iterator[None]:
        """Let a question arrive during the block; there may be as many of them as there are places.

        Raises:
            Refusal: all places are taken, or that many questions arrive already.
        """
        if self.is_full():
            raise self.busy()
        self.arriving += 1
        try:
            yield
        finally:
            self.arriving -= 1

    def enter(self, work: Callable[[], T], question: object = None) -> asyncio.Future[T]:
        """Have a worker do something, after all that came before.

        A future that is cancelled while it waits frees its place at once.

        Args:
            work: what to do.
            question: what ``together`` takes, if this may be answered in one batch with what waits beside it.

        Raises:
            Refusal: all places are taken.
        """
        waiting = _Waiting(work, question)
        with self._lock:
            if self.inside >= self.places:
                raise self.busy()
            self.inside += 1
            self._line.append(waiting)
        waiting.future.add_done_callback(self._leave)
        self._pool.submit(self._turn)
        return asyncio.wrap_future(waiting.future)

    def close(self) -> None:
        """Let the threads end once they are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for waiting in tuple(self._line):
            waiting.future.cancel()

    def _turn(self) -> None:
        """Do what waits at the head of the line; an earlier turn may have done what this one was for."""
        if batch := self._next():
            started = time.monotonic()
            outcomes = self._outcomes(batch)
            took = (time.monotonic() - started) / len(batch)
            self._mean += (took - self._mean) * _WEIGHT
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _settle(waiting.future, outcome)

    def _next(self) -> list[_Waiting]:
        """Take the head of the line, and those right behind it that may be answered together with it."""
        batch: list[_Waiting] = []
        with self._lock:
            while self._line and len(batch) < BATCH and (not batch or self._fits(self._line[0], batch[0])):
                waiting = self._line.popleft()
                if waiting.future.set_running_or_notify_cancel():
                    batch.append(waiting)
        return batch

    def _fits(self, waiting: _Waiting, first: _Waiting) -> bool:
        return self._together is not None and waiting.question is not None and first.question is not None

    def _outcomes(self, batch: Sequence[_Waiting]) -> Sequence[Any]:
        try:
            if len(batch) == 1:
                return [batch[0].work()]
            assert self._together
            return self._together([waiting.question for waiting in batch])
        except Exception as error:  # noqa: BLE001 - whoever waits for the answer raises it
            return [error] * len(batch)

    def _leave(self, _: Future[T]) -> None:
        with self._lock:
            self.inside -= 1

    def busy(self) -> Refusal:
        """Return the refusal of a question for which there is no place."""
        seconds = math.ceil(self._mean * self.places / self.workers)
        after = {"retry-after": str(min(max(seconds, 1), _LONGEST_WAIT))}
        return Refusal(429, "busy", "as many questions wait as the server takes; ask again later", after)


def _settle(future: Future[Any], outcome: Any) -> None:
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
