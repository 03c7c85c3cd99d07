"""Change the scores of the next token as the logits processors of transformers 5.23 do, in their order.

A processor changes the scores of single tokens (docs/florence2.md#logits-processors), so it can work on the K best
tokens of each beam as well as on all.  :func:`need_all_scores` tells when the K best are not enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.constraints import banned_tokens, certain_token, end_with, forced_token, suppressed_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.settings import GenerationSettings


@dataclass(frozen=True)
class Scores:
    """The scores of tokens of each beam, which processors change in place.

    Args:
        values: (beams, n) float32.
        token_ids: (beams, n) int64, the token of each score; None if all tokens of the vocabulary are there in order.
    """

    values: FloatArray
    token_ids: IntArray | None = None
    touched: list[IntArray] = field(default_factory=list)
    """The tokens that processors were to change, in any beam, with repeats; they may have no score here."""

    def change(self, beams: IntArray, tokens: IntArray, to: Callable[[FloatArray], FloatArray | float]) -> None:
        """Change the score of ``tokens[i]`` in beam ``beams[i]``, both (m,) int64, where there is one."""
        if len(tokens):
            self.touched.append(tokens)
            places = self._places(beams, tokens)
            self.values[places] = to(self.values[places])

    def change_in_all(self, tokens: Sequence[int], to: Callable[[FloatArray], FloatArray | float]) -> None:
        """Change the scores of these tokens in every beam."""
        if not tokens:
            return
        beams = np.arange(len(self.values))
        self.change(np.repeat(beams, len(tokens)), np.tile(np.array(tokens, np.int64), len(beams)), to)

    def count_unseen(self) -> int:
        """Count the touched tokens of a single beam that have no score here."""
        tokens = np.unique(np.concatenate(self.touched)) if self.touched else np.empty(0, np.int64)
        return 0 if self.token_ids is None else int((~np.isin(tokens, self.token_ids[0])).sum())

    def _places(self, beams: IntArray, tokens: IntArray) -> tuple[IntArray, IntArray]:
        if self.token_ids is None:
            known = (tokens >= 0) & (tokens < self.values.shape[1])
            return beams[known], tokens[known]
        pairs, columns = np.nonzero(self.token_ids[beams] == tokens[:, None])
        return beams[pairs], columns


def need_all_scores(length: int, settings: GenerationSettings) -> bool:
    """Tell whether the best tokens after a sequence of this length may be others than the best before processing.

    A processor that only lowers scores lets no token overtake the K best that it was not given.
    """
    decay = settings.exponential_decay_length_penalty
    return (
        settings.renormalize_logits
        or settings.repetition_penalty < 1
        or (decay is not None and length > decay[0] + 1)
        or any(bias > 0 for _, bias in settings.sequence_bias)
        or forced_token(length, settings) != certain_token(length, settings)
    )


def process(scores: Scores, sequences: IntArray, settings: GenerationSettings) -> None:
    """Change the scores of what follows the sequences.

    Args:
        scores: logits in greedy search, log-probabilities in beam search; of all tokens if
            :func:`need_all_scores` says so.
        sequences: (beams, length) int64, with the decoder start token.
        settings: the settings of the search.
    """
    length = sequences.shape[1]
    _add_biases(scores, sequences, settings)
    _penalise_repetition(scores, sequences, settings.repetition_penalty)
    _ban(scores, *banned_tokens(sequences, settings.no_repeat_ngram_size))
    _ban_words(scores, sequences, settings)
    if length < settings.shortest:
        _ban_in_all(scores, settings.end_token_ids)
    _force(scores, length, settings)
    _urge_to_end(scores, length, settings)
    _ban_in_all(scores, suppressed_tokens(length, settings))
    if settings.renormalize_logits:
        scores.values[:] = _log_softmax(scores.values)


def _ban(scores: Scores, beams: IntArray, tokens: IntArray) -> None:
    scores.change(beams, tokens, lambda _: -np.inf)


def _ban_in_all(scores: Scores, tokens: Sequence[int]) -> None:
    scores.change_in_all(tokens, lambda _: -np.inf)


def _add_biases(scores: Scores, sequences: IntArray, settings: GenerationSettings) -> None:
    """Add the sum of all biases of a token to its score; it is float32, as in transformers."""
    if not settings.sequence_bias:
        return
    sums = Scores(np.zeros_like(scores.values), scores.token_ids, scores.touched)
    for (*before, last), bias in dict(settings.sequence_bias).items():
        beams = np.flatnonzero(end_with(sequences, before))
        sums.change(beams, np.full(len(beams), last), lambda sum_, bias=bias: sum_ + np.float32(bias))  # type: ignore[misc]
    scores.values[:] += sums.values


def _penalise_repetition(scores: Scores, sequences: IntArray, penalty: float) -> None:
    if penalty != 1:
        factor = np.float32(penalty)
        beams = np.repeat(np.arange(len(sequences)), sequences.shape[1])
        scores.change(beams, sequences.ravel(), lambda old: np.where(old < 0, old * factor, old / factor))


def _ban_words(scores: Scores, sequences: IntArray, settings: GenerationSettings) -> None:
    """Ban the last token of a bad word where the others have come; an end token alone is no bad word."""
    words = settings.bad_words_ids
    _ban_in_all(scores, [word[0] for word in words if len(word) == 1 and word[0] not in settings.end_token_ids])
    for *before, last in words:
        if before:
            beams = np.flatnonzero(end_with(sequences, before))
            _ban(scores, beams, np.full(len(beams), last))


def _force(scores: Scores, length: int, settings: GenerationSettings) -> None:
    forced = forced_token(length, settings)
    if forced is not None:
        scores.values[:] = -np.inf
        scores.change_in_all([forced], lambda _: 0.0)


def _urge_to_end(scores: Scores, length: int, settings: GenerationSettings) -> None:
    """Raise the scores of the end tokens with the length: exponential_decay_length_penalty."""
    decay = settings.exponential_decay_length_penalty
    if decay is None or length <= decay[0] + 1:
        return
    growth = np.float32(min(_power(decay[1], length - decay[0] - 1) - 1, np.finfo(np.float32).max))
    scores.change_in_all(
        settings.end_token_ids, lambda old: old + np.where(np.isfinite(old), np.abs(old), np.float32(0)) * growth
    )


def _power(factor: float, exponent: int) -> float:
    try:
        return float(factor**exponent)
    except OverflowError:
        return np.inf


def _log_softmax(scores: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):  # nan where every token is banned, as in transformers
        shifted = scores - scores.max(axis=1, keepdims=True)
        result: FloatArray = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
