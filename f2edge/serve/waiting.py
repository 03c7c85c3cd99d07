"""The queue in front of the workers: bounded, so that whoever does not find a place is told so at once."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from f2edge.serve.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")

_LONGEST_WAIT = 60
_WEIGHT = 0.2  # of the latest answer in the mean


class WaitingRoom:
    """Questions that are answered or wait for a worker, first come, first served.

    Args:
        workers: questions that are answered at the same time.
        queue: questions that may wait.
    """

    def __init__(self, workers: int, queue: int) -> None:
        self.workers, self.places = workers, workers + queue
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

    @contextmanager
    def arrival(self) -> Iterator[None]:
        """Let a question arrive during the block; there may be as many of them as there are places.

        Raises:
            Refusal: all places are taken, or that many questions arrive already.
        """
        if self.inside >= self.places or self.arriving >= self.places:
            raise self._full()
        self.arriving += 1
        try:
            yield
        finally:
            self.arriving -= 1

    def enter(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have a worker do something, after all that came before.

        A future that is cancelled while it waits frees its place at once.

        Raises:
            Refusal: all places are taken.
        """
        with self._lock:
            if self.inside >= self.places:
                raise self._full()
            self.inside += 1
        future = self._pool.submit(self._timed, work)
        future.add_done_callback(self._leave)
        return asyncio.wrap_future(future)

    def close(self) -> None:
        """Let the threads end once they are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _timed(self, work: Callable[[], T]) -> T:
        started = time.monotonic()
        try:
            return work()
        finally:
            took = time.monotonic() - started
            self._mean += (took - self._mean) * _WEIGHT

    def _leave(self, _: Future[T]) -> None:
        with self._lock:
            self.inside -= 1

    def _full(self) -> Refusal:
        seconds = math.ceil(self._mean * self.places / self.workers)
        after = {"retry-after": str(min(max(seconds, 1), _LONGEST_WAIT))}
        return Refusal(429, "busy", "as many questions wait as the server takes; ask again later", after)
