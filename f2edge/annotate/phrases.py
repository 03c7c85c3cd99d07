"""What the words of a text tell: how many objects it names, how it joins them, and whether a phrase is unwanted."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_PLAIN = frozenset({"a", "an", "the", "and", "or"})
"""Words that only list things."""
_SENTENCE_END = re.compile(r"[.!?]")
_WORD = re.compile(r"\w+")


class Place(NamedTuple):
    """Where a phrase stands in a text: its first character, and the one after its last."""

    start: int
    end: int


def count_objects(phrases: Iterable[str]) -> int:
    """Count distinct phrases, whatever their case."""
    return len({phrase.casefold() for phrase in phrases})


def count_relations(text: str, places: Iterable[Place]) -> int:
    """Count pairs of neighbouring phrases of a sentence that are joined by more than articles, "and" and "or".

    Args:
        text: the text.
        places: where its phrases stand, from left to right; none overlaps another.
    """
    gaps = (text[one.end : other.start] for one, other in pairwise(places))
    return sum(_joins(gap) for gap in gaps)


def _joins(gap: str) -> bool:
    return not _SENTENCE_END.search(gap) and not {word.casefold() for word in _WORD.findall(gap)} <= _PLAIN


def find(text: str, phrases: Iterable[str]) -> Iterator[Place]:
    """Yield where each phrase first stands in a text as whole words, from left to right.

    Of phrases that overlap, the first one has a place; one that is not found has none.
    """
    distinct = {phrase.casefold(): phrase for phrase in phrases if phrase}.values()
    found = (re.search(_whole(re.escape(phrase)), text, re.IGNORECASE) for phrase in distinct)
    last = 0
    for start, end in sorted(match.span() for match in found if match):
        if start >= last:
            yield Place(start, end)
            last = end


def _whole(pattern: str) -> str:
    """Return the pattern of whole words."""
    return rf"(?<!\w)(?:{pattern})(?!\w)"


def unwanted(text: str, blacklist: Sequence[str]) -> str:
    """Return the first phrase of a blacklist that stands in a text as whole words, whatever the case; "" if none."""
    if not blacklist:
        return ""
    found = _pattern(tuple(blacklist)).search(" ".join(text.casefold().split()))
    return found[0] if found else ""


@lru_cache(maxsize=8)
def _pattern(blacklist: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(_whole("|".join(map(re.escape, blacklist))))
