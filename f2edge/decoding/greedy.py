"""Greedy search over any decoder session, as transformers 5.23 does it (docs/florence2.md#greedy-search)."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from f2edge.decoding.constraints import certain_token, max_length
from f2edge.decoding.processors import Scores, need_all_scores, process
from f2edge.decoding.steps import Found, Hypothesis, StepRequest, progress
from f2edge.decoding.stopping import NEVER
from f2edge.decoding.structure import Limits
from f2edge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.session import DecoderSession, StepScores
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.decoding.steps import Search
    from f2edge.decoding.stopping import StopSignal
    from f2edge.decoding.structure import Structure

# What processors take from candidates is taken out of the given log-sum-exp, which saves fetching all logits, while
# that costs no precision in float32: what they take from other tokens must be negligible, what is left must be enough.
_NEGLIGIBLE_MASS = 1e-7
_LARGEST_MASS = 0.5
_FIRST_ROW = np.zeros(1, dtype=np.int64)


class DecodedToken(NamedTuple):
    """A token that greedy search has chosen, and its log-probability."""

    token_id: int
    logprob: float


def stream(
    session: DecoderSession,
    settings: GenerationSettings,
    signal: StopSignal = NEVER,
    structure: Structure | None = None,
) -> Iterator[DecodedToken]:
    """Search greedily, and yield each token after the decoder start token as soon as it is chosen.

    Args:
        session: fresh, no step taken yet.
        settings: the search's settings, with one beam.
        signal: ends the search between two tokens.
        structure: what the answer is held to; its last object may remain unfinished.

    Raises:
        InputError: more than one beam, whose tokens are not final before the end.
        DeviceError: the decoder's scores are not finite.
    """
    if settings.num_beams != 1:
        raise InputError(f"streaming needs num_beams=1, not {settings.num_beams}; use generate for beam search")
    return _tokens(progress(greedy_search(settings, signal, structure), session))


def _tokens(steps: Generator[StepRequest, None, Found]) -> Iterator[DecodedToken]:
    read = 0
    while True:
        try:
            yield from _from(decided := next(steps).decided(), read)
            read = len(decided.logprobs)
        except StopIteration as end:
            yield from _from(end.value.best, read)
            return


def _from(decided: Hypothesis, first: int) -> Iterator[DecodedToken]:
    tokens, logprobs = decided.token_ids[1 + first :].tolist(), decided.logprobs[first:].tolist()
    return map(DecodedToken, tokens, logprobs)


def greedy_search(
    settings: GenerationSettings, signal: StopSignal = NEVER, structure: Structure | None = None
) -> Search:
    """Search greedily; if the signal asks to stop, the answer is what was decided until then."""
    decoded: list[DecodedToken] = []
    state = structure.start if structure else None
    while 1 + len(decoded) < max_length(settings) and not signal.requested():
        limits = Limits.of([state], structure, 1 + len(decoded), settings) if structure and state else None
        decoded.append((yield from _next_token(_sequence(decoded, settings), decoded, settings, limits)))
        if decoded[-1].token_id in settings.end_token_ids:
            break
        state = state.after(decoded[-1].token_id) if state else None
    return Found(_hypothesis(decoded, settings), _score(decoded, settings))


def _sequence(decoded: list[DecodedToken], settings: GenerationSettings) -> IntArray:
    return np.array([[settings.decoder_start_token_id, *(token.token_id for token in decoded)]])


def _hypothesis(decoded: list[DecodedToken], settings: GenerationSettings) -> Hypothesis:
    logprobs = np.array([token.logprob for token in decoded])
    return Hypothesis(_sequence(decoded, settings)[0], logprobs, np.zeros(len(decoded), np.int64))


def _score(decoded: list[DecodedToken], settings: GenerationSettings) -> float:
    return sum(token.logprob for token in decoded) / len(decoded) ** settings.length_penalty if decoded else 0.0


def _next_token(
    sequence: IntArray, decoded: list[DecodedToken], settings: GenerationSettings, limits: Limits | None
) -> Generator[StepRequest, StepScores, DecodedToken]:
    length = sequence.shape[1]
    certain = certain_token(length, settings)
    if certain is not None and length + 1 == max_length(settings):
        return DecodedToken(certain, 0.0)
    if limits and limits.tokens == [None]:
        return DecodedToken(limits.ends[0], 0.0)
    step = yield StepRequest(sequence[0, -1:], _FIRST_ROW, partial(_hypothesis, decoded, settings))
    if certain is not None:
        return DecodedToken(certain, 0.0)
    if limits:
        return _from_permitted(step, sequence, settings, limits)
    return _from_candidates(step, sequence, settings) or _from_all(step, sequence, settings)


def _from_permitted(step: StepScores, sequence: IntArray, settings: GenerationSettings, limits: Limits) -> DecodedToken:
    scores = limits.among_candidates(step, sequence, settings)
    unseen = step.logits[0, -1] - step.log_sum_exp[0]
    if scores is None or not (scores.complete[0] or scores.values.max() > unseen):
        scores = limits.among_all(step, sequence, settings)
    best = scores.values.max()
    return DecodedToken(int(scores.token_ids[scores.values == best].min()), float(best))


def _from_candidates(step: StepScores, sequence: IntArray, settings: GenerationSettings) -> DecodedToken | None:
    """Return the best token of the candidates, or None if another token could be better."""
    if need_all_scores(sequence.shape[1], settings):
        return None
    scores = Scores(step.logits.copy(), step.token_ids)
    process(scores, sequence, settings)
    best = scores.values.max()
    log_sum_exp = _log_sum_exp(step, scores)
    if best <= step.logits[0, -1] or log_sum_exp is None:
        return None
    token_id = step.token_ids[scores.values == best].min()
    return DecodedToken(int(token_id), float(best - np.float32(log_sum_exp)))


def _log_sum_exp(step: StepScores, scores: Scores) -> float | None:
    """Return the log-sum-exp over all processed logits, or None if the candidates do not determine it."""
    total = float(step.log_sum_exp[0])
    if not scores.touched:
        return total
    before, after = _probabilities(step.logits, total), _probabilities(scores.values, total)
    taken = float((before - after).sum())
    unseen = scores.count_unseen() * before[0, -1]
    if taken > _LARGEST_MASS or unseen > _NEGLIGIBLE_MASS:
        return None
    return total + math.log1p(-taken)


def _probabilities(logits: FloatArray, log_sum_exp: float) -> FloatArray:
    result: FloatArray = np.exp(logits - log_sum_exp)
    return result


def _from_all(step: StepScores, sequence: IntArray, settings: GenerationSettings) -> DecodedToken:
    logits = step.fetch_logits()[:1].copy()
    process(Scores(logits), sequence, settings)
    token_id = int(logits[0].argmax())
    with np.errstate(invalid="ignore"):  # nan where every token is banned, as in transformers
        shifted = logits[0] - logits[0, token_id]
    return DecodedToken(token_id, -float(np.log(np.exp(shifted).sum())))
