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


_NO_BIN = -1


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
        bin_of = np.full(size, _NO_BIN, np.int16)
        bin_of[locations] = np.arange(BINS)
        return cls(
            tokenizer,
            texts=texts,
            words=texts & ~_mask(size, (token for token, name in plain.items() if "<" in name)),
            breaks=np.array([token for token in broken if tokenizer.decode([token]).isspace()], np.int64),
            closing=tuple((token, tokenizer.decode([token])) for token, name in plain.items() if ">" in name),
            locations=locations,
            bins={token: number for number, token in enumerate(locations.tolist())},
            bin_of=bin_of,
            begin=tokenizer.special_id("<s>"),
            open_mask=tokenizer.special_id("<poly>"),
            close_mask=tokenizer.special_id("</poly>"),
            separator=tokenizer.special_id("<sep>"),
        )

    @property
    def tags(self) -> frozenset[int]:
        """The tokens that are neither text nor locations and have a meaning, end tokens aside."""
        return frozenset((self.begin, self.open_mask, self.close_mask, self.separator))


def _mask(size: int, tokens: Iterable[int]) -> NDArray[np.bool_]:
    mask = np.zeros(size, bool)
    mask[list(tokens)] = True
    return mask
