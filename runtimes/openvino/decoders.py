"""Use compiled decoders again, since OpenVINO does not free them.

The CPU plugin of OpenVINO 2026.4 never frees a graph whose attention is fused with its state: each compilation leaves
its weights and a thread behind (docs/traps.md).  So the next model of the same bundle takes over the decoder of one
that is gone.
"""

from __future__ import annotations

import os
import weakref
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    import openvino as ov

    from f2edge.runtimes.openvino.loading import LoadPlan

_IDLE: defaultdict[Hashable, list[ov.CompiledModel]] = defaultdict(list)


def take_idle(plan: LoadPlan) -> ov.CompiledModel | None:
    """Take over the decoder of an earlier model that was loaded by the same plan and is gone; None if there is none."""
    try:
        return _IDLE[_key(plan)].pop()
    except IndexError:
        return None


def leave_at_end(owner: object, plan: LoadPlan, decoder: ov.CompiledModel) -> None:
    """Leave a decoder for the next model of the same plan when its owner is gone; sessions may go on to use it."""
    if plan.bundle_hash and plan.device("decoder") == "CPU":
        weakref.finalize(owner, _leave, os.getpid(), _key(plan), decoder).atexit = False


def forget_idle() -> None:
    """Drop all idle decoders, so that the next models compile theirs."""
    _IDLE.clear()


# While a compiled model lives, OpenVINO hands its idle threads to the next one, and in a forked child they are dead.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=forget_idle)


def _leave(process: int, key: Hashable, decoder: ov.CompiledModel) -> None:
    if process == os.getpid():  # a forked child has no thread to run a parent's decoder
        _IDLE[key].append(decoder)


def _key(plan: LoadPlan) -> Hashable:
    """Return what decides how a decoder is compiled."""
    return plan.bundle_hash, str(plan.placement), plan.placement.threads
