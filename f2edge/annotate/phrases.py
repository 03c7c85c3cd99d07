"""What the words of a text tell: how many objects it names, how it joins them, and whether a phrase is unwanted."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_PLAIN = frozenset({"a", "an", "the", "and", "or"})
"""Words that only list things."""
_SENTENCE_END = re.compile(r"[.!?]")
_WORD = re.compile(r"\w+")


def count_objects(phrases: Iterable[str]) -> int:
    """Count distinct phrases, whatever their case."""
    return len({phrase.casefold() for phrase in phrases})


def count_relations(text: str, phrases: Iterable[str]) -> int:
    """Count pairs of neighbouring phrases of a sentence that are joined by more than articles, "and" and "or".

    Args:
        text: the text.
        phrases: phrases as they stand in it; one that is not found counts for nothing.
    """
    gaps = (text[one[1] : other[0]] for one, other in pairwise(_places(text, phrases)))
    return sum(_joins(gap) for gap in gaps)


def _joins(gap: str) -> bool:
    return not _SENTENCE_END.search(gap) and not {word.casefold() for word in _WORD.findall(gap)} <= _PLAIN


def _places(text: str, phrases: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield where each phrase first stands in a text, from left to right; of those that overlap the first one."""
    lower, last = text.casefold(), 0
    distinct = {phrase.casefold() for phrase in phrases if phrase}
    spans = sorted((start, start + len(phrase)) for phrase in distinct if (start := lower.find(phrase)) >= 0)
    for start, end in spans:
        if start >= last:
            yield start, end
            last = end


def unwanted(text: str, blacklist: Sequence[str]) -> str:
    """Return the first phrase of a blacklist that stands in a text as whole words, whatever the case; "" if none."""
    if not blacklist:
        return ""
    found = _pattern(tuple(blacklist)).search(" ".join(text.casefold().split()))
    return found[0] if found else ""


@lru_cache(maxsize=8)
def _pattern(blacklist: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, blacklist))})(?!\w)")
