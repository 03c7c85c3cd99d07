"""The errors of answers that were stopped before their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.errors import F2EdgeError

if TYPE_CHECKING:
    from f2edge.decoding.stopping import StopSignal
    from f2edge.result import Result


class StoppedError(F2EdgeError):
    """An answer that was stopped before its end.

    Args:
        message: the line for the user.
        result: what was decided until then, marked as truncated; of a beam search the best sequence so far, though the
            finished answer might be another.  None if nothing was decided, or if the pieces were handed out already.
    """

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


class AnswerTimeoutError(StoppedError):
    """The time of an answer was up: its `timeout` has passed."""


class AnswerCancelledError(StoppedError):
    """The caller cancelled an answer: its `cancel` was set."""


def stopped_error(signal: StopSignal, result: Result | None = None) -> StoppedError:
    """Return the error for the reason that a signal gave, with what was decided until then."""
    tokens = len(result.token_ids) - 1 if result else 0
    decided = f"after token {tokens}" if tokens else "before its first token"
    return _error(signal, f"the answer was stopped {decided}", result)


def many_stopped_error(signal: StopSignal, answered: int) -> StoppedError:
    """Return the error for answers to many questions, of which so many were whole."""
    return _error(signal, f"the answers were stopped after {answered} of them", None)


def _error(signal: StopSignal, what: str, result: Result | None) -> StoppedError:
    if signal.reason == "timeout":
        return AnswerTimeoutError(f"{what}: `timeout` {signal.timeout:g} s is over", result)
    return AnswerCancelledError(f"{what}: `cancel` was set", result)
