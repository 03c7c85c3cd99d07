"""The state of the machine at one moment: clocks, temperatures, load, power supply."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from f2edge.measuring.system import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from f2edge.measuring.system import System

_CPUS = "sys/devices/system/cpu/cpu[0-9]*"
_THROTTLED_NOW = 0b1110
"""Bits of ``vcgencmd get_throttled``: the clock is capped, throttled, or limited by temperature at this moment."""
_NOT_DISCHARGING = {"Charging", "Not charging", "Full"}
_COLDEST, _HOTTEST = -60.0, 200.0
"""Temperatures in degrees Celsius beyond which a sensor is not connected."""


@dataclass(frozen=True)
class Conditions:
    """The state of the machine at one moment.  What the system does not tell is None, or not among the values.

    Args:
        governor: the policies of the clock, such as "performance"; several are joined by commas.
        clock_mhz: the mean clock of the processors in MHz.
        clock_max_mhz: the highest clock that they may have in MHz.
        temperatures_c: temperatures in degrees Celsius, by the name of the sensor.
        load: processes that run or wait to run, mean of the last minute.
        on_battery: whether the machine runs on its battery.
        throttle_events: how often the processors slowed down since the system started, because they were too hot.
        throttled: whether the machine slows its processors down at this moment.
    """

    governor: str | None = None
    clock_mhz: float | None = None
    clock_max_mhz: float | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    load: float | None = None
    on_battery: bool | None = None
    throttle_events: int | None = None
    throttled: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def read_conditions(system: System = SYSTEM) -> Conditions:
    """Read the state of the machine at this moment."""
    return Conditions(
        governor=_governor(system),
        clock_mhz=clock_mhz(system),
        clock_max_mhz=_mean_mhz(system, "cpuinfo_max_freq"),
        temperatures_c=temperatures(system),
        load=_load(system),
        on_battery=_on_battery(system),
        throttle_events=_throttle_events(system),
        throttled=_throttled(system),
    )


def board(system: System = SYSTEM) -> str | None:
    """Return the name of the board or of the computer, as its maker writes it."""
    if tree := system.text("proc/device-tree/model"):
        return tree
    names = (system.text(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    return " ".join(filter(None, names)) or None


def clock_mhz(system: System) -> float | None:
    """Return the mean clock of the processors in MHz.

    The clock in /proc/cpuinfo is not used: on a virtual machine it never changes.
    """
    return _mean_mhz(system, "scaling_cur_freq")


def temperatures(system: System) -> dict[str, float]:
    """Return the temperatures in degrees Celsius, by the name of the sensor."""
    found: dict[str, float] = {}
    for zone in system.paths("sys/class/thermal/thermal_zone*"):
        _add(found, system.text(zone / "type") or zone.name, system.number(zone / "temp"))
    for sensor in system.paths("sys/class/hwmon/hwmon*/temp*_input"):
        chip = system.text(sensor.parent / "name") or sensor.parent.name
        label = system.text(sensor.with_name(sensor.name.replace("_input", "_label")))
        _add(found, f"{chip} {label}" if label else chip, system.number(sensor))
    return found


def _add(found: dict[str, float], name: str, thousandths: float | None) -> None:
    """Add a temperature; a name that is taken gets a number."""
    if thousandths is None or not _COLDEST < thousandths / 1e3 < _HOTTEST:
        return
    same = sum(re.fullmatch(rf"{re.escape(name)}( \d+)?", other) is not None for other in found)
    found[f"{name} {same + 1}" if same else name] = round(thousandths / 1e3, 1)


def _mean_mhz(system: System, name: str) -> float | None:
    clocks = [clock for path in system.paths(f"{_CPUS}/cpufreq/{name}") if (clock := system.number(path)) is not None]
    return round(sum(clocks) / len(clocks) / 1e3, 1) if clocks else None


def _governor(system: System) -> str | None:
    return (
        ", ".join(sorted({*filter(None, map(system.text, system.paths(f"{_CPUS}/cpufreq/scaling_governor")))})) or None
    )


def _load(system: System) -> float | None:
    try:
        return float((system.text("proc/loadavg") or "").split()[0])
    except (IndexError, ValueError):
        return None


def _on_battery(system: System) -> bool | None:
    """Tell whether a battery of the machine, not one of a mouse, is discharging; None if no power supply is known."""
    own = [path for path in system.paths("sys/class/power_supply/*") if system.text(path / "scope") != "Device"]
    kinds = {path: kind for path in own if (kind := system.text(path / "type"))}
    states = [system.text(path / "status") for path, kind in kinds.items() if kind == "Battery"]
    if "Discharging" in states:
        return True
    return False if kinds and set(states) <= _NOT_DISCHARGING else None


def _throttle_events(system: System) -> int | None:
    counts = [system.number(path) for path in system.paths(f"{_CPUS}/thermal_throttle/*_throttle_count")]
    known = [count for count in counts if count is not None]
    return int(sum(known)) if known else None


def _throttled(system: System) -> bool | None:
    """Ask a Raspberry Pi, and the cooling devices of the processors, which lower its clock."""
    match = re.match(r"throttled=0x([0-9a-fA-F]+)", system.tool("vcgencmd", "get_throttled") or "")
    told = [bool(int(match[1], 16) & _THROTTLED_NOW)] if match else []
    for device in system.paths("sys/class/thermal/cooling_device*"):
        kind, state = system.text(device / "type") or "", system.number(device / "cur_state")
        if state is not None and (kind == "Processor" or "cpufreq" in kind or kind.startswith("cpu")):
            told.append(state > 0)
    return any(told) if told else None
