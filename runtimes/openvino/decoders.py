"""Use compiled decoders again, since OpenVINO does not free them.

The CPU plugin of OpenVINO 2026.4 never frees a graph whose attention is fused with its state: each compilation leaves
its weights and a thread behind (docs/traps.md).  So the next model of the same bundle takes over the decoder of one
that is gone.  While a mix of INT8 blocks is searched, that is the next mix with the same decoder.
"""

from __future__ import annotations

import os
import weakref
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    import openvino as ov

_IDLE: defaultdict[Hashable, list[ov.CompiledModel]] = defaultdict(list)


def take_idle(key: Hashable) -> ov.CompiledModel | None:
    """Take over the decoder of a model that is gone; None if there is none.

    Args:
        key: everything that decides what is compiled, and how.
    """
    try:
        return _IDLE[key].pop()
    except IndexError:
        return None


def leave_at_end(owner: object, key: Hashable, decoder: ov.CompiledModel) -> None:
    """Leave a decoder for the next model of the same key when its owner is gone; sessions may go on to use it."""
    weakref.finalize(owner, _leave, os.getpid(), key, decoder).atexit = False


def forget_idle() -> None:
    """Drop all idle decoders, so that the next models compile theirs."""
    _IDLE.clear()


# While a compiled model lives, OpenVINO hands its idle threads to the next one, and in a forked child they are dead.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=forget_idle)


def _leave(process: int, key: Hashable, decoder: ov.CompiledModel) -> None:
    if process == os.getpid():  # a forked child has no thread to run a parent's decoder
        _IDLE[key].append(decoder)
