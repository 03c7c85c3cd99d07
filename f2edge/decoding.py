"""The decode loop: one for all engines.

The loop sees scores only.  Keys and values, their reordering and their memory belong to the session, which a
runtime provides; the whole contract is :class:`DecoderSession`.  Greedy search is here, beam search in
:mod:`f2edge.beam_search`; both follow transformers 5.23 (spec, section G).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from f2edge.beam_search import beam_search
from f2edge.errors import InputError
from f2edge.logits import banned_tokens, forced_token, max_length, take_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.generation import GenerationSettings
    from f2edge.logits import BannedTokens

# Banned tokens are taken out of the given log-sum-exp, which saves fetching all logits, while that costs no
# precision in float32: unknown ones must be negligible, known ones must leave enough.
_NEGLIGIBLE_MASS = 1e-7
_LARGEST_MASS = 0.5


@dataclass(frozen=True)
class StepScores:
    """What one decoder step says about the next token of each beam.

    Args:
        token_ids: (beams, K) int64, the K tokens of the largest logits, best first, equal ones in any order.
            With K well above twice the number of beams, all logits are hardly ever asked for.
        logits: (beams, K) float32, the logits of those tokens.
        log_sum_exp: (beams,) float32, over the whole vocabulary.
        fetch_logits: gives (beams, vocabulary) float32; valid until the session's next step.
    """

    token_ids: IntArray
    logits: FloatArray
    log_sum_exp: FloatArray
    fetch_logits: Callable[[], FloatArray]


class DecoderSession(Protocol):
    """One image and one prompt in a decoder, ready to be asked for the next token."""

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed one token per beam and score the next one.

        Args:
            tokens: (beams,) int64, the last token of each beam; the decoder start token in the first call.
            beam_indices: (beams,) int64, for each beam the previous step's beam that it continues; [0] in the
                first call.  The number of beams may differ from the previous step's.
        """


class DecodedToken(NamedTuple):
    """A token that greedy search has decided on, and its log-probability."""

    token_id: int
    logprob: float


@dataclass(frozen=True)
class Generation:
    """The sequence that a search found.

    Args:
        token_ids: the whole sequence as transformers returns it, from the decoder start token: 2, 0, ..., 2.
        token_logprobs: one per token after the start, 0 where it was forced.  Relative to the whole
            vocabulary in beam search, to the tokens not banned in greedy search.
        score: sum of ``token_logprobs`` / their number ** length_penalty; beam search ranks by it.
        truncated: the sequence was cut at ``max_new_tokens``, whether or not an end token was forced there.
    """

    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    score: float
    truncated: bool


def generate(session: DecoderSession, settings: GenerationSettings) -> Generation:
    """Search for the best sequence: greedy with one beam, beam search with more (spec, section G).

    Args:
        session: fresh, no step taken yet.
        settings: the search's settings.

    Raises:
        DeviceError: the decoder's scores are not finite.
    """
    if settings.num_beams == 1:
        return _collect(stream(session, settings), settings)
    best, score = beam_search(session, settings)
    return _generation(best.token_ids.tolist(), best.logprobs.tolist(), score, settings)


def stream(session: DecoderSession, settings: GenerationSettings) -> Iterator[DecodedToken]:
    """Greedy search that yields each token as soon as it is decided, the decoder start token excepted.

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
    """The best token of the candidates, or None where tokens beyond them have a say."""
    token_ids, logits = step.token_ids[0], step.logits[0]
    removed = np.isin(token_ids, banned.token_ids)
    best = logits[~removed].max(initial=-np.inf)
    log_sum_exp = _log_sum_exp_without(step, banned, removed)
    if best <= logits[-1] or log_sum_exp is None:
        return None
    return DecodedToken(int(token_ids[(logits == best) & ~removed].min()), float(best - np.float32(log_sum_exp)))


def _log_sum_exp_without(step: StepScores, banned: BannedTokens, removed: NDArray[np.bool_]) -> float | None:
    """The log-sum-exp over the tokens not banned, or None where the candidates do not determine it."""
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


def _collect(tokens: Iterator[DecodedToken], settings: GenerationSettings) -> Generation:
    decoded = list(tokens)
    logprobs = [token.logprob for token in decoded]
    score = sum(logprobs) / len(logprobs) ** settings.length_penalty
    return _generation(
        [settings.decoder_start_token_id, *(token.token_id for token in decoded)], logprobs, score, settings
    )


def _generation(token_ids: list[int], logprobs: list[float], score: float, settings: GenerationSettings) -> Generation:
    by_itself = settings.forced_eos_token_id is None and token_ids[-1] == settings.eos_token_id
    truncated = len(token_ids) == max_length(settings) and not by_itself
    return Generation(tuple(token_ids), tuple(logprobs), score, truncated)
