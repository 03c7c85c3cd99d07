"""Constraints on the next token: forced tokens, and the ban of repeated n-grams.

Both follow transformers 5.23 (docs/florence2.md#forced-tokens).  A forced token replaces all scores of a step, so a
search asks for it first; the ban takes single tokens away from single beams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.settings import GenerationSettings


class BannedTokens(NamedTuple):
    """Banned tokens: ``token_ids[i]`` in beam ``beams[i]``; both (n,) int64, with repeats."""

    beams: IntArray
    token_ids: IntArray


def max_length(settings: GenerationSettings) -> int:
    """Return the length of the longest sequence, the decoder start token included."""
    return 1 + settings.max_new_tokens


def forced_token(length: int, settings: GenerationSettings) -> int | None:
    """Return the forced token after a sequence of this length, or None; the end token overrules the begin token."""
    if length == max_length(settings) - 1 and settings.forced_eos_token_id is not None:
        return settings.forced_eos_token_id
    return settings.forced_bos_token_id if length == 1 else None


def banned_tokens(sequences: IntArray, ngram_size: int) -> BannedTokens:
    """Return the tokens that would complete an n-gram that the same beam already holds.

    Args:
        sequences: (beams, length) int64, with the decoder start token, which counts.
        ngram_size: the n; 0 bans nothing, 1 bans every token seen.
    """
    length = sequences.shape[1]
    starts = length - ngram_size + 1
    if ngram_size == 0 or starts <= 0:
        return BannedTokens(np.empty(0, np.int64), np.empty(0, np.int64))
    repeats = np.ones((len(sequences), starts), dtype=bool)
    for offset in range(ngram_size - 1):
        repeats &= sequences[:, offset : starts + offset] == sequences[:, starts + offset, None]
    beams, positions = np.nonzero(repeats)
    return BannedTokens(beams, sequences[beams, positions + ngram_size - 1])


def ban_candidates(scores: FloatArray, token_ids: IntArray, banned: BannedTokens) -> None:
    """Set banned candidates to -inf, in place.

    Args:
        scores: (beams, candidates) float32.
        token_ids: (beams, candidates) int64, the token that each score belongs to.
        banned: may name tokens that are not among the candidates.
    """
    for beam, token in zip(banned.beams.tolist(), banned.token_ids.tolist(), strict=True):
        scores[beam, token_ids[beam] == token] = -np.inf
