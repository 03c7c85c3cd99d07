"""Messages that name several faults in one line."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LINE = 160
"""Characters of a message that list faults."""


def listed(faults: Sequence[str]) -> str:
    """Join faults as far as a line of the usual length takes them, at least one, and count the others."""
    ends = accumulate(map(len, faults))
    shown = [fault for fault, end in zip(faults, ends, strict=True) if end <= _LINE] or faults[:1]
    rest = len(faults) - len(shown)
    return "; ".join((*shown, f"and {rest} more")) if rest else "; ".join(shown)
