"""Energy as the machine itself measures it: RAPL, sensors of hwmon, INA3221 of a Jetson, the PMIC of a Raspberry Pi.

A counter of joules is read at both ends of a measurement.  Sensors of watts are read again and again in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.measuring.system import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from f2edge.measuring.system import System

_MICRO = 1e-6
_WHOLE_BOARD = "VDD_IN"
"""The rail of a Jetson's INA3221 that feeds the whole module; the other rails are parts of it."""
_POWER_CHIPS = re.compile(r"ina2\d\d|power_meter|ltc2\d+")
"""Names of chips that measure the power of a board.  A sensor of a graphics card, say, knows its own power only."""
_PMIC = re.compile(r"^\s*(\w+)_([AV])\s+\w+\(\d+\)=(\d+\.?\d*)", re.MULTILINE)


@dataclass(frozen=True)
class Meter:
    """One way to measure energy.

    Args:
        source: its name: "RAPL", "hwmon energy", "hwmon power", "INA3221" or "vcgencmd".
        parts: what of the machine it measures, by the names of the system, such as "package-0".
        joules: reads the counter of each part in joules; None for a meter of watts.
        watts: reads the power at this moment in watts; None for a counter, or where reading fails.
        wraps: the joules after which each counter starts at 0 again; 0 if that is not known.
        interval: seconds between two readings of the power; a meter that starts a program is read less often.
    """

    source: str
    parts: tuple[str, ...]
    joules: Callable[[], tuple[float, ...] | None] | None = None
    watts: Callable[[], float | None] | None = None
    wraps: tuple[float, ...] = ()
    interval: float = 0.2

    def used(self, before: tuple[float, ...], after: tuple[float, ...]) -> float | None:
        """Return the joules between two readings of a counter; None if one went back and its range is not known."""
        total = 0.0
        for start, end, wrap in zip(before, after, self.wraps, strict=True):
            if end < start and not wrap:
                return None
            total += end - start if end >= start else end + wrap - start
        return total


@dataclass(frozen=True)
class Energy:
    """The energy of a measurement.

    Args:
        source: see :class:`Meter`.
        parts: see :class:`Meter`.
        joules: what these parts took during the measurement, also for other processes, in joules.
        watts: their mean power in watts.
        answers: the answers that the measurement gave; a second question about a picture counts as one.
    """

    source: str
    parts: tuple[str, ...]
    joules: float
    watts: float
    answers: int

    def to_json(self) -> dict[str, object]:
        """Return everything as plain values, with the joules of one answer."""
        return {
            "source": self.source,
            "parts": list(self.parts),
            "joules": round(self.joules, 3),
            "watts": round(self.watts, 3),
            "answers": self.answers,
            "joules_per_answer": round(self.joules / self.answers, 4),
        }


def find_meter(system: System = SYSTEM) -> Meter | None:
    """Return the first meter that can be read now: one of the whole board before one of its processor."""
    for find in (_ina3221, _hwmon_power, _rapl, _hwmon_energy, _pmic):
        meter = find(system)
        if meter is not None and _works(meter):
            return meter
    return None


def _works(meter: Meter) -> bool:
    return (meter.joules or meter.watts or (lambda: None))() is not None


def _rapl(system: System) -> Meter | None:
    """Return the counters of whole packages; those of cores and of graphics are parts of them, psys is around them."""
    zones = {
        name: zone
        for zone in system.paths("sys/class/powercap/intel-rapl:[0-9]*")
        if zone.name.count(":") == 1 and (name := system.text(zone / "name") or zone.name) != "psys"
    }
    wraps = tuple((system.number(zone / "max_energy_range_uj") or 0.0) * _MICRO for zone in zones.values())
    return _counter("RAPL", system, {name: zone / "energy_uj" for name, zone in zones.items()}, wraps)


def _hwmon_energy(system: System) -> Meter | None:
    """Return the counters of sockets in hwmon, such as those of amd_energy; those of cores are parts of them."""
    counters = {_label(system, path): path for path in system.paths("sys/class/hwmon/hwmon*/energy*_input")}
    sockets = {name: path for name, path in counters.items() if "socket" in name.lower()}
    return _counter("hwmon energy", system, sockets, (0.0,) * len(sockets))


def _counter(source: str, system: System, files: Mapping[str, Path], wraps: tuple[float, ...]) -> Meter | None:
    if not files:
        return None

    def joules() -> tuple[float, ...] | None:
        values = [system.number(path) for path in files.values()]
        known = tuple(value * _MICRO for value in values if value is not None)
        return known if len(known) == len(values) else None

    return Meter(source, tuple(files), joules=joules, wraps=wraps)


def _ina3221(system: System) -> Meter | None:
    """Return the rail of a Jetson that feeds the whole module, or all rails that have a name."""
    rails = dict(_rails(system))
    if not rails:
        return None
    chosen = {_WHOLE_BOARD: rails[_WHOLE_BOARD]} if _WHOLE_BOARD in rails else rails

    def watts() -> float | None:
        pairs = [(system.number(volts), system.number(amperes)) for volts, amperes in chosen.values()]
        known = [volts * amperes * _MICRO for volts, amperes in pairs if volts is not None and amperes is not None]
        return sum(known) if len(known) == len(pairs) else None

    return Meter("INA3221", tuple(chosen), watts=watts)


def _rails(system: System) -> Iterator[tuple[str, tuple[Path, Path]]]:
    """Yield the name of each rail, with its files of millivolts and milliamperes."""
    for chip in system.paths("sys/class/hwmon/hwmon*"):
        if system.text(chip / "name") != "ina3221":
            continue
        for channel in ("1", "2", "3"):
            name = system.text(chip / f"in{channel}_label")
            if name and name != "NC" and system.number(chip / f"curr{channel}_input") is not None:
                yield name, (chip / f"in{channel}_input", chip / f"curr{channel}_input")


def _hwmon_power(system: System) -> Meter | None:
    """Return the sensors of chips that measure the power of a board."""
    files = [
        path
        for pattern in ("power*_average", "power*_input")
        for path in system.paths(f"sys/class/hwmon/hwmon*/{pattern}")
        if _POWER_CHIPS.fullmatch(system.text(path.parent / "name") or "")
    ]
    chosen = {_label(system, path): path for path in files[:1]}  # a second one may measure a part of the same current
    if not chosen:
        return None

    def watts() -> float | None:
        value = system.number(files[0])
        return None if value is None else value * _MICRO

    return Meter("hwmon power", tuple(chosen), watts=watts)


def _label(system: System, path: Path) -> str:
    chip = system.text(path.parent / "name") or path.parent.name
    return system.text(path.with_name(path.name.split("_")[0] + "_label")) or chip


def _pmic(system: System) -> Meter | None:
    """Return the rails behind the power chip of a Raspberry Pi 5; what USB devices take is not among them."""
    rails = tuple(sorted(_pmic_watts(system)))
    if not rails:
        return None
    return Meter("vcgencmd", rails, watts=lambda: sum(_pmic_watts(system).values()) or None, interval=1.0)


def _pmic_watts(system: System) -> dict[str, float]:
    """Return the power of each rail that has a current and a voltage, in watts."""
    printed = system.tool("vcgencmd", "pmic_read_adc") or ""
    read = {(rail, unit): float(value) for rail, unit, value in _PMIC.findall(printed)}
    return {
        rail: value * read[rail, "V"] for (rail, unit), value in read.items() if unit == "A" and (rail, "V") in read
    }
