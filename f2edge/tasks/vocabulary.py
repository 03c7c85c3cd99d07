"""The tokens of a vocabulary by what they may be in a structured answer: text, locations, tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from f2edge.tasks.location import BINS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from f2edge.arrays import IntArray
    from f2edge.tokenizer import Tokenizer


_FEW = 8  # tokens, up to which comparing with each is faster than numpy.isin


class Vocabulary(NamedTuple):
    """What a grammar asks about tokens.

    Args:
        tokenizer: the tokenizer.
        texts: (vocabulary,) the tokens of text without line breaks.
        words: (vocabulary,) those of them without ``<``, which ends a label for most parsers.
        breaks: (n,) the tokens of blank text that have a line break.
        closing: the tokens of text that have a ``>``, each with its text.
        locations: (1000,) the token of each bin.
        bins: the bin of each location token.
        bin_of: (vocabulary,) the same as an array, -1 for other tokens.
        begin: the token ``<s>``.
        open_mask: the token ``<poly>``.
        close_mask: the token ``</poly>``.
        separator: the token ``<sep>``.
    """

    tokenizer: Tokenizer
    texts: NDArray[np.bool_]
    words: NDArray[np.bool_]
    breaks: IntArray
    closing: tuple[tuple[int, str], ...]
    locations: IntArray
    bins: dict[int, int]
    bin_of: NDArray[np.int16]
    begin: int
    open_mask: int
    close_mask: int
    separator: int

    @classmethod
    def of(cls, tokenizer: Tokenizer, size: int) -> Vocabulary:
        """Sort the tokens of a tokenizer.

        Args:
            tokenizer: the tokenizer.
            size: the number of tokens that the model scores; one that the tokenizer does not know never comes.

        Raises:
            CheckpointError: the tokenizer lacks a tag of Florence-2.
        """
        plain = {token: name for token, name in tokenizer.plain_tokens() if token < size}
        broken = [token for token, name in plain.items() if tokenizer.LINE_BREAK in name]
        texts = _mask(size, plain.keys() - broken)
        locations = np.array([tokenizer.location_id(number) for number in range(BINS)])
        return cls(
            tokenizer,
            texts=texts,
            words=texts & ~_mask(size, (token for token, name in plain.items() if "<" in name)),
            breaks=np.array([token for token in broken if tokenizer.decode([token]).isspace()], np.int64),
            closing=tuple((token, tokenizer.decode([token])) for token, name in plain.items() if ">" in name),
            locations=locations,
            bins={token: number for number, token in enumerate(locations.tolist())},
            bin_of=tokenizer.bins(size).astype(np.int16),
            begin=tokenizer.special_id("<s>"),
            open_mask=tokenizer.special_id("<poly>"),
            close_mask=tokenizer.special_id("</poly>"),
            separator=tokenizer.special_id("<sep>"),
        )

    @property
    def tags(self) -> frozenset[int]:
        """The tokens that are neither text nor locations and have a meaning, end tokens aside."""
        return frozenset((self.begin, self.open_mask, self.close_mask, self.separator))


class Tokens(NamedTuple):
    """A set of tokens.

    Args:
        vocabulary: all tokens.
        texts: (vocabulary,) which tokens of text are in it; None if none is.
        lowest: the least bin in it; ``BINS`` for no location.
        barred: higher bins that are not in it.
        others: other tokens in it.
    """

    vocabulary: Vocabulary
    texts: NDArray[np.bool_] | None
    lowest: int
    barred: frozenset[int]
    others: tuple[int, ...]

    def among(self, token_ids: IntArray) -> NDArray[np.bool_]:
        """Tell which tokens are in the set; both have the same shape."""
        bins = self.vocabulary.bin_of[token_ids]
        found: NDArray[np.bool_] = bins >= self.lowest
        for number in self.barred:
            found &= bins != number
        if self.texts is not None:
            found |= self.texts[token_ids]
        if self.others:
            found |= np.isin(token_ids, self.others) if len(self.others) > _FEW else self._is_other(token_ids)
        return found

    def _is_other(self, token_ids: IntArray) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = token_ids == self.others[0]
        for token in self.others[1:]:
            found |= token_ids == token
        return found

    def mark(self, mask: NDArray[np.bool_]) -> None:
        """Set a mask (vocabulary,) for each token in the set, and perhaps for some that are not."""
        if self.texts is not None:
            mask |= self.texts[: len(mask)]
        mask[self.vocabulary.locations[self.lowest :]] = True
        mask[list(self.others)] = True

    @property
    def size(self) -> float:
        """How many tokens are in it; infinite for text."""
        return np.inf if self.texts is not None else BINS - self.lowest - len(self.barred) + len(self.others)


def _mask(size: int, tokens: Iterable[int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[list(tokens)] = True
    return mask
