"""Watch the machine while something is measured: a thread reads memory, power, clock and temperature now and then."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np

from f2edge.measuring.busy import Contention, contention, cpu_times
from f2edge.measuring.conditions import Conditions, clock_mhz, read_conditions, temperatures
from f2edge.measuring.energy import Energy, find_meter
from f2edge.measuring.system import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from f2edge.measuring.busy import CpuTimes
    from f2edge.measuring.energy import Meter
    from f2edge.measuring.system import System

_INTERVAL = 0.2
_SLOW_INTERVAL = 1.0
"""Seconds between two readings of clocks and temperatures, which are a file for each processor or sensor."""
_MIB = 2**20


@dataclass(frozen=True)
class Reading:
    """What was read at one moment of a measurement; what the system does not tell is None.

    Args:
        seconds: the moment, in seconds since the start of the measurement.
        rss_mib: the memory of this process in MiB.
        watts: the power of what the meter measures, in watts.
        clock_mhz: the mean clock of the processors in MHz.
        hottest_c: the highest temperature of all sensors in degrees Celsius.
    """

    seconds: float
    rss_mib: float | None = None
    watts: float | None = None
    clock_mhz: float | None = None
    hottest_c: float | None = None


@dataclass
class Watch:
    """What was seen of the machine during a measurement; complete once the measurement has ended.

    Args:
        system: where to read.
        before: the state of the machine at the start.
        after: the state of the machine at the end.
        seconds: how long the measurement took, in seconds.
        contention: who else took processor time; None if the system does not tell.
        readings: what was read in between.
    """

    system: System
    before: Conditions
    after: Conditions = field(default_factory=Conditions)
    seconds: float = 0.0
    contention: Contention | None = None
    readings: list[Reading] = field(default_factory=list)
    _meter: Meter | None = None
    _joules: float | None = None

    def mean(self, name: str) -> float | None:
        """Return the mean of one field of the readings over time; None if it was never read."""
        values = known(self.readings, name)
        return round(float(np.mean(values)), 3) if values else None

    def energy(self, answers: int) -> Energy | None:
        """Return the energy of the measurement, which gave that many answers; None if the machine does not tell."""
        joules = self._joules
        if self._meter is None or joules is None or not answers or not self.seconds:
            return None
        return Energy(self._meter.source, self._meter.parts, joules, joules / self.seconds, answers)


@contextmanager
def watched(system: System = SYSTEM, before: Conditions | None = None) -> Iterator[Watch]:
    """Watch the machine during the block.

    Args:
        system: where to read.
        before: the state of the machine before it was put to work; by default that at the start of the block.
    """
    meter = find_meter(system)
    watch = Watch(system, before or read_conditions(system), _meter=meter)
    counted, times, started = meter and meter.joules and meter.joules(), cpu_times(system), time.perf_counter()
    done = Event()
    thread = Thread(target=_read, args=(watch, meter, done, started), name="f2edge-watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.seconds = time.perf_counter() - started
        _finish(watch, counted or None, times)
        done.set()
        thread.join()


def _finish(watch: Watch, counted: tuple[float, ...] | None, times: CpuTimes | None) -> None:
    """Note what must be read at once at the end."""
    watch.contention = contention(times, cpu_times(watch.system))
    watch.after = read_conditions(watch.system)
    meter = watch._meter  # noqa: SLF001 - this function is a part of the watch
    if meter and meter.joules and counted:
        now = meter.joules()
        watch._joules = None if now is None else meter.used(counted, now)  # noqa: SLF001
    elif meter and meter.watts:
        mean = watch.mean("watts")
        watch._joules = None if mean is None else mean * watch.seconds  # noqa: SLF001


def _read(watch: Watch, meter: Meter | None, done: Event, started: float) -> None:
    """Read until the measurement is done; at least once."""
    slow = watts = -float("inf")
    while True:
        seconds, clock, hottest, power = time.perf_counter() - started, None, None, None
        if seconds - slow >= _SLOW_INTERVAL:
            slow, clock = seconds, clock_mhz(watch.system)
            hottest = max(temperatures(watch.system).values(), default=None)
        if meter and meter.watts and seconds - watts >= meter.interval:
            watts, power = seconds, meter.watts()
        watch.readings.append(Reading(seconds, rss_mib(watch.system), power, clock, hottest))
        if done.wait(_INTERVAL):
            return


def rss_mib(system: System = SYSTEM) -> float | None:
    """Return the memory that this process has at this moment in MiB; None if the system does not tell."""
    fields = (system.text("proc/self/statm") or "").split()
    if len(fields) < 2 or not fields[1].isdigit() or not hasattr(os, "sysconf"):  # noqa: PLR2004
        return None
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB


def known(readings: Sequence[Reading], name: str) -> list[float]:
    """Return the values of one field, without those that could not be read."""
    return [value for reading in readings if (value := getattr(reading, name)) is not None]
