"""Threads of PyTorch while it compiles."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from f2edge.machine import default_threads

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def within_quota() -> Iterator[None]:
    """Let torch compute with no more threads than the quota of a container pays for; then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, default_threads() or before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
