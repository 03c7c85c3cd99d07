"""What a search decides, followed while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.decoding import Generation


class Followed:
    """The beginnings of one answer, longer and longer; the last of them is the whole.

    Args:
        steps: what :func:`f2edge.decoding.decide` yields.

    Attributes:
        last: the longest beginning that has been read until now.
    """

    last: Generation

    def __init__(self, steps: Iterator[Generation]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[Generation]:
        for decided in self._steps:
            self.last = decided
            yield decided

    def tokens(self) -> Iterator[int]:
        """Yield each token after the decoder start token once it is decided."""
        read = 1
        for decided in self:
            yield from decided.token_ids[read:]
            read = max(read, len(decided.token_ids))
