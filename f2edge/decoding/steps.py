"""A search as a dialogue: it asks for decoder steps and gets their scores, and whoever drives it has the session.

So one search serves a session of its own, and many searches share the session of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from f2edge.decoding.session import Candidates, StepScores, take_step

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.session import DecoderSession


class Hypothesis(NamedTuple):
    """One sequence.

    Args:
        token_ids: (n,) int64, the decoder start token included.
        logprobs: (n - 1,) the log-probability of each token after that.
        rows: (n - 1,) int64, the row of the scores that each of them was chosen from, in the step of its position.
    """

    token_ids: IntArray
    logprobs: FloatArray
    rows: IntArray


class Found(NamedTuple):
    """What a search has found: its best sequence, and summed log-probabilities / tokens ** length_penalty."""

    best: Hypothesis
    score: float


class StepRequest(NamedTuple):
    """A decoder step that a search asks for.

    Args:
        tokens: (beams,) int64, the last token of each beam.
        beam_indices: (beams,) int64, for each beam the previous step's beam that it continues.
        decided: returns the beginning that every sequence has which may still be the answer.
    """

    tokens: IntArray
    beam_indices: IntArray
    decided: Callable[[], Hypothesis]


Search: TypeAlias = Generator[StepRequest, StepScores, Found]
"""A search for one answer; it is sent the scores of each step that it asks for."""


def recorded(search: Search, steps: list[Candidates]) -> Search:
    """Pass a search on, and note the candidates of each of its steps, (beams, K) each."""
    try:
        request = next(search)
        while True:
            scores = yield request
            steps.append(Candidates(scores.token_ids, scores.logits - scores.log_sum_exp[:, None]))
            request = search.send(scores)
    except StopIteration as end:
        found: Found = end.value
        return found


def finish(search: Search, session: DecoderSession) -> Found:
    """Take all steps that a search asks for, and return what it finds.

    Raises:
        DeviceError: the decoder's scores are not finite.
    """
    steps = progress(search, session)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found


def progress(search: Search, session: DecoderSession) -> Generator[StepRequest, None, Found]:
    """Take the steps that a search asks for, and return what it finds.

    Yields:
        After each step the request for the next one, which tells what is decided; it is not taken yet.

    Raises:
        DeviceError: the decoder's scores are not finite.
    """
    try:
        request = next(search)
        while True:
            request = search.send(take_step(session, request.tokens, request.beam_indices))
            yield request
    except StopIteration as end:
        found: Found = end.value
        return found
