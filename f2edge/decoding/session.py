"""One decoder step: what a session gives for it, and the contract that every engine's session keeps.

The search sees scores only.  Keys and values, their reordering and their memory belong to the session, which a
runtime (:mod:`f2edge.engine`) provides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from f2edge.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from f2edge.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class StepScores:
    """The scores of the next token of each beam after one decoder step.

    Args:
        token_ids: (beams, K) int64, the K tokens with the largest logits, best first, ties in any order.
            If K is well above twice the number of beams, all logits are hardly ever fetched.
        logits: (beams, K) float32, the logits of those tokens.
        log_sum_exp: (beams,) float32, over the whole vocabulary.
        fetch_logits: returns all logits (beams, vocabulary) float32; valid until the next step of the session.
    """

    token_ids: IntArray
    logits: FloatArray
    log_sum_exp: FloatArray
    fetch_logits: Callable[[], FloatArray]


class Candidates(NamedTuple):
    """The tokens that had the largest scores in a step, before settings and structure of the search changed any.

    Args:
        token_ids: (beams, K) int64, or (K,) of one beam; best first.
        logprobs: of the same shape, float32, their log-probabilities relative to the whole vocabulary.
    """

    token_ids: IntArray
    logprobs: FloatArray


class Alternatives(NamedTuple):
    """What each token of an answer was chosen from.

    Args:
        steps: the candidates of each step of the search; a token that ended it may have had no step.
        rows: (n,) the row of the scores of each token, in the step of its position after the start token.
    """

    steps: Sequence[Candidates] = ()
    rows: Sequence[int] | IntArray = ()

    def at(self, position: int) -> Candidates | None:
        """Return the candidates (K,) of the token at a position, the start token's being 0; None without a step."""
        if not 0 < position <= len(self.steps):
            return None
        step, row = self.steps[position - 1], self.rows[position - 1]
        return Candidates(step.token_ids[row], step.logprobs[row])


class DecoderSession(Protocol):
    """The decoder of one image and one prompt, ready to score the next token."""

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed one token per beam and score the next one.

        Args:
            tokens: (beams,) int64, the last token of each beam; the decoder start token in the first call.
            beam_indices: (beams,) int64, for each beam the previous step's beam that it continues; [0] in the
                first call.  The number of beams may differ from the previous step's.
        """


class BatchSession(DecoderSession, Protocol):
    """The decoder of several questions, which take their steps together.

    Its rows are the beams of the first question, then as many of the second, and so on; ``beam_indices`` count the rows
    of the previous step over all questions.
    """

    def keep(self, questions: IntArray) -> None:
        """Go on with some of the questions from the next step on.

        Args:
            questions: (n,) int64, ascending positions among those that were there until now.
        """


def take_step(session: DecoderSession, tokens: IntArray, beam_indices: IntArray) -> StepScores:
    """Run one decoder step, and refuse scores that are not finite.

    Raises:
        DeviceError: a log-sum-exp is not finite, which an overflow in half precision causes.
    """
    return finite(session.step(tokens, beam_indices))


def finite(step: StepScores) -> StepScores:
    """Return the scores of a step.

    Raises:
        DeviceError: a log-sum-exp is not finite, which an overflow in half precision causes.
    """
    if not np.isfinite(step.log_sum_exp).all():
        raise DeviceError(
            "the decoder's scores are not finite numbers; compile the checkpoint again, with precision fp32"
        )
    return step


class TimedSession:
    """A session that notes when each of its steps was done.

    Args:
        session: the session; its time begins now.
    """

    def __init__(self, session: DecoderSession) -> None:
        self.done: list[float] = []
        """Seconds of :func:`time.perf_counter` at the end of each step."""
        self._session = session
        self._started = time.perf_counter()

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Take one step; see :meth:`DecoderSession.step`."""
        scores = self._session.step(tokens, beam_indices)
        self.done.append(time.perf_counter())
        return scores

    @property
    def steps(self) -> int:
        """The number of steps that the search took."""
        return len(self.done)

    def timings_ms(self) -> dict[str, float]:
        """Until the first step was done, and the mean from step to step after it, the loop's own work included."""
        if not self.done:
            return {}
        timings = {"first_token": (self.done[0] - self._started) * 1e3}
        if later := len(self.done) - 1:
            timings["per_token"] = (self.done[-1] - self.done[0]) * 1e3 / later
        return timings
