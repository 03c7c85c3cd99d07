"""What limits the next token whatever its score: the longest answer, forced tokens, repeated n-grams, bad words.

All follow transformers 5.23 (docs/florence2.md#forced-tokens).  A forced token replaces all scores of a step, so a
search asks for it first; a ban takes single tokens away from single beams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from f2edge.arrays import IntArray
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


def certain_token(length: int, settings: GenerationSettings) -> int | None:
    """Return the token that comes after a sequence of this length whatever the scores are, or None."""
    forced = forced_token(length, settings)
    return None if forced in suppressed_tokens(length, settings) else forced


def suppressed_tokens(length: int, settings: GenerationSettings) -> tuple[int, ...]:
    """Return the tokens that may not come after a sequence of this length, whatever it is."""
    begin = 1 if settings.forced_bos_token_id is None else 2
    return settings.suppress_tokens + (settings.begin_suppress_tokens if length == begin else ())


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


def end_with(sequences: IntArray, tokens: Sequence[int]) -> NDArray[np.bool_]:
    """Tell which of the sequences (beams, length) end with these tokens; with none, each does.  Returns (beams,)."""
    if len(tokens) > sequences.shape[1]:
        return np.zeros(len(sequences), bool)
    matches: NDArray[np.bool_] = (sequences[:, sequences.shape[1] - len(tokens) :] == np.array(tokens)).all(axis=1)
    return matches
