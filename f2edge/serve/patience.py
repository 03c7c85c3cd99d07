"""How long a server waits for a question and works on it: until its client has gone, or its time is over."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from f2edge.asking.stopped import StoppedError
from f2edge.serve.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

T = TypeVar("T")


class Patience:
    """Tells an answer to stop: its client has gone, or its time is over.

    Args:
        seconds: the time from now, the wait for a worker included.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.gone = Event()
        self._deadline = time.monotonic() + seconds

    def is_set(self) -> bool:
        """Tell whether to stop; this is the ``cancel`` of :meth:`f2edge.Florence2.run`."""
        return self.gone.is_set() or self.left() <= 0

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._deadline - time.monotonic()

    def over(self) -> Refusal:
        """Return what the client is told once the time is over."""
        return Refusal(504, "timeout", f"the answer took longer than {self.seconds:g} s and was stopped")


class AllGone:
    """Tells a batch to stop: nobody waits for any of its answers.

    Args:
        patiences: the patience with each of its questions.
    """

    def __init__(self, patiences: Sequence[Patience]) -> None:
        self._patiences = patiences

    def is_set(self) -> bool:
        """Tell whether to stop."""
        return all(patience.is_set() for patience in self._patiences)


@contextmanager
def within(patience: Patience) -> Iterator[None]:
    """Tell why an answer was stopped.

    Raises:
        Refusal: its time is over, or its client has gone, who will not read this.
    """
    try:
        yield
    except StoppedError as error:
        raise patience.over() from error


async def in_time(reading: Awaitable[T], seconds: float) -> T:
    """Return what was read of a body.

    Raises:
        Refusal: it did not arrive in time.
    """
    try:
        if sys.version_info >= (3, 11):  # without a task of its own, and once for all parts of the body
            async with asyncio.timeout(seconds):
                return await reading
        return await asyncio.wait_for(reading, seconds)
    except asyncio.TimeoutError:
        raise Refusal(408, "slow", f"the body did not arrive within {seconds:g} s") from None
