"""Greedy search over any decoder session, as transformers 5.23 does it (docs/florence2.md#greedy-search)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from f2edge.decoding.constraints import banned_tokens, forced_token, max_length
from f2edge.decoding.session import take_step
from f2edge.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from f2edge.arrays import IntArray
    from f2edge.decoding.constraints import BannedTokens
    from f2edge.decoding.session import DecoderSession, StepScores
    from f2edge.decoding.settings import GenerationSettings

# Banned tokens are taken out of the given log-sum-exp, which saves fetching all logits, while that costs no
# precision in float32: unknown ones must be negligible, known ones must leave enough.
_NEGLIGIBLE_MASS = 1e-7
_LARGEST_MASS = 0.5


class DecodedToken(NamedTuple):
    """A token that greedy search has chosen, and its log-probability."""

    token_id: int
    logprob: float


def stream(session: DecoderSession, settings: GenerationSettings) -> Iterator[DecodedToken]:
    """Search greedily, and yield each token after the decoder start token as soon as it is chosen.

    Args:
        session: fresh, no step taken yet.
        settings: the search's settings, with one beam.

    Raises:
        InputError: more than one beam, whose tokens are not final before the end.
        DeviceError: the decoder's scores are not finite.
    """
    if settings.num_beams != 1:
        raise InputError(f"streaming needs num_beams=1, not {settings.num_beams}; use generate for beam search")
    return _greedy(session, settings)


def _greedy(session: DecoderSession, settings: GenerationSettings) -> Iterator[DecodedToken]:
    sequence = np.array([[settings.decoder_start_token_id]])
    while sequence.shape[1] < max_length(settings):
        decoded = _next_token(session, sequence, settings)
        yield decoded
        if decoded.token_id == settings.eos_token_id:
            return
        sequence = np.append(sequence, [[decoded.token_id]], axis=1)


def _next_token(session: DecoderSession, sequence: IntArray, settings: GenerationSettings) -> DecodedToken:
    length = sequence.shape[1]
    forced = forced_token(length, settings)
    if forced is not None and length + 1 == max_length(settings):
        return DecodedToken(forced, 0.0)
    step = take_step(session, sequence[0, -1:], np.zeros(1, dtype=np.int64))
    if forced is not None:
        return DecodedToken(forced, 0.0)
    banned = banned_tokens(sequence, settings.no_repeat_ngram_size)
    return _from_candidates(step, banned) or _from_all(step, banned)


def _from_candidates(step: StepScores, banned: BannedTokens) -> DecodedToken | None:
    """Return the best token of the candidates, or None if another token could be better."""
    token_ids, logits = step.token_ids[0], step.logits[0]
    removed = np.isin(token_ids, banned.token_ids)
    best = logits[~removed].max(initial=-np.inf)
    log_sum_exp = _log_sum_exp_without(step, banned, removed)
    if best <= logits[-1] or log_sum_exp is None:
        return None
    return DecodedToken(int(token_ids[(logits == best) & ~removed].min()), float(best - np.float32(log_sum_exp)))


def _log_sum_exp_without(step: StepScores, banned: BannedTokens, removed: NDArray[np.bool_]) -> float | None:
    """Return the log-sum-exp over the tokens not banned, or None if the candidates do not determine it."""
    total = float(step.log_sum_exp[0])
    if not len(banned.token_ids):
        return total
    probabilities = np.exp(step.logits[0] - total)
    mass = float(probabilities[removed].sum())
    unseen = (len(np.unique(banned.token_ids)) - removed.sum()) * probabilities[-1]
    if mass > _LARGEST_MASS or unseen > _NEGLIGIBLE_MASS:
        return None
    return total + math.log1p(-mass)


def _from_all(step: StepScores, banned: BannedTokens) -> DecodedToken:
    logits = step.fetch_logits()[0].copy()
    logits[banned.token_ids] = -np.inf
    token_id = int(logits.argmax())
    with np.errstate(invalid="ignore"):  # nan where every token is banned, as in transformers
        shifted = logits - logits[token_id]
    return DecodedToken(token_id, -float(np.log(np.exp(shifted).sum())))
