"""Remove tags from a text, and remember the offset of each remaining character."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class CleanText:
    """A text and, for each of its characters, the offset in the original text."""

    text: str
    offsets: Sequence[int]

    def without(self, tag: str) -> CleanText:
        """Remove every occurrence of a tag, from left to right."""
        if tag not in self.text:
            return self
        offsets: list[int] = []
        start = 0
        for part in self.text.split(tag):
            offsets += self.offsets[start : start + len(part)]
            start += len(part) + len(tag)
        return CleanText(self.text.replace(tag, ""), offsets)


def clean(text: str, *tags: str) -> CleanText:
    """Remove tags from a text, one kind after the other."""
    cleaned = CleanText(text, range(len(text)))
    for tag in tags:
        cleaned = cleaned.without(tag)
    return cleaned
