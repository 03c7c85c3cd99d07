"""Work that may take long, beside the event loop, which answers everyone else meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LARGE = 2**18
"""Bytes from which it pays to change threads; on less, a thread takes longer to wake than the work does."""


async def beside(size: int, work: Callable[[], T]) -> T:
    """Do some work on so many bytes, in another thread if they are many."""
    return await asyncio.to_thread(work) if size >= LARGE else work()
