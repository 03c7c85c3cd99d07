"""Processor time during a measurement: of this process, of others, and of other virtual machines."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.measuring.system import SYSTEM

if TYPE_CHECKING:
    from f2edge.measuring.system import System

_BUSY = (0, 1, 2, 5, 6)
"""Columns of a line of /proc/stat that are work: user, nice, system, interrupts; user has guests in it."""
_STOLEN = 7
_TICKS = 100.0
"""Ticks per second, where the system has no other number."""


@dataclass(frozen=True)
class CpuTimes:
    """Seconds of processor time since the system started, at one moment.

    Args:
        moment: the moment, in seconds of a clock that only goes forward.
        busy: of all processes.
        stolen: of this virtual machine's processors while the host computed for others.
        own: of this process and of its children that have ended.
        processors: the number of processors.
    """

    moment: float
    busy: float
    stolen: float
    own: float
    processors: int


@dataclass(frozen=True)
class Contention:
    """Who else took processor time during a measurement.

    Args:
        others: processors that other processes kept busy, mean over the measurement.
        stolen: the share of the time of all processors that the host gave to other virtual machines, 0 to 1.
        processors: the number of processors of the machine.
    """

    others: float
    stolen: float
    processors: int


def cpu_times(system: System = SYSTEM) -> CpuTimes | None:
    """Return the processor times at this moment; None if the system does not tell."""
    lines = (system.text("proc/stat") or "").splitlines()
    try:
        values = [float(value) for value in lines[0].split()[1:]]
        ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else _TICKS
        busy, stolen = sum(values[column] for column in _BUSY) / ticks, values[_STOLEN] / ticks
    except (IndexError, ValueError):
        return None
    own = os.times()
    processors = sum(line.startswith("cpu") for line in lines) - 1
    seconds = own.user + own.system + own.children_user + own.children_system
    return CpuTimes(time.monotonic(), busy, stolen, seconds, max(1, processors))


def contention(before: CpuTimes | None, after: CpuTimes | None) -> Contention | None:
    """Return who else took processor time between two moments; None if the system does not tell."""
    if before is None or after is None or after.moment <= before.moment:
        return None
    seconds = after.moment - before.moment
    others = (after.busy - before.busy - (after.own - before.own)) / seconds
    stolen = (after.stolen - before.stolen) / seconds / after.processors
    return Contention(round(max(0.0, others), 3), round(min(1.0, max(0.0, stolen)), 4), after.processors)
