"""Stop an answer before its end: at a deadline, or when its caller cancels it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from f2edge.errors import InputError
from f2edge.lines import shown
from f2edge.numbers import is_number

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

POLL_SECONDS = 0.005
"""How often a wait for something else looks at a signal."""

Reason: TypeAlias = Literal["timeout", "cancel"]


@runtime_checkable
class Cancel(Protocol):
    """A flag that the caller sets to cancel, such as :class:`threading.Event`."""

    def is_set(self) -> bool:
        """Tell whether the caller cancels."""
        ...


class StopRequestedError(Exception):
    """An engine stopped in the middle of a graph, because a signal asked for it.

    The model turns it into :class:`f2edge.asking.stopped.StoppedError`.
    """


class StopSignal:
    """Tell whether one answer is to stop, and why.

    Once it has asked to stop, it keeps doing so, with the first reason.

    Args:
        timeout: seconds from now; None for no deadline.
        cancel: flags of the caller, any of which cancels the answer.
    """

    def __init__(self, timeout: float | None = None, *cancel: Cancel) -> None:
        self.timeout = timeout
        self.reason: Reason | None = None
        self._deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._cancel = cancel

    @classmethod
    def of(cls, timeout: float | None, *cancel: Cancel | None) -> StopSignal:
        """Make a signal of what a caller gave.

        Raises:
            InputError: ``timeout`` is no positive number of seconds, or ``cancel`` is not such a flag.
        """
        if timeout is not None and not (is_number(timeout) and timeout > 0):
            raise InputError(f"`timeout` is {shown(timeout)}; give a positive number of seconds")
        for flag in cancel:
            if flag is not None and not isinstance(flag, Cancel):
                raise InputError(f"`cancel` is {shown(flag)}; give a threading.Event")
        return cls(timeout, *(flag for flag in cancel if flag is not None))

    @property
    def possible(self) -> bool:
        """Whether there is anything that could ask to stop."""
        return self.timeout is not None or bool(self._cancel)

    def requested(self) -> bool:
        """Tell whether to stop now."""
        if self.reason is None and self.possible:
            if any(flag.is_set() for flag in self._cancel):
                self.reason = "cancel"
            elif time.monotonic() >= self._deadline:
                self.reason = "timeout"
        return self.reason is not None

    def raise_if_requested(self) -> None:
        """Raise StopRequestedError if it is time to stop."""
        if self.requested():
            raise StopRequestedError

    def watch(self, done: Event, stop: Callable[[], None]) -> None:
        """Call ``stop`` as soon as the signal asks for it, unless ``done`` is set before."""
        while not done.wait(POLL_SECONDS):
            if self.requested():
                stop()
                return


NEVER = StopSignal()
"""The signal of an answer that nothing stops."""
