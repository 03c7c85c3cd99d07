"""Energy as each kind of machine tells it; a machine that tells nothing has none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from f2edge.measuring.energy import find_meter
from f2edge.measuring.watch import watched
from tests.support.planted import planted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RAPL = {
    "sys/class/powercap/intel-rapl:0/name": "package-0",
    "sys/class/powercap/intel-rapl:0/energy_uj": 5_000_000,
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": 100_000_000,
    "sys/class/powercap/intel-rapl:0:0/name": "core",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": 1_000_000,
    "sys/class/powercap/intel-rapl:1/name": "psys",
    "sys/class/powercap/intel-rapl:1/energy_uj": 9_000_000,
}
JETSON = {
    "sys/class/hwmon/hwmon3/name": "ina3221",
    "sys/class/hwmon/hwmon3/in1_label": "VDD_IN",
    "sys/class/hwmon/hwmon3/in1_input": 5_000,
    "sys/class/hwmon/hwmon3/curr1_input": 2_000,
    "sys/class/hwmon/hwmon3/in2_label": "VDD_CPU_GPU_CV",
    "sys/class/hwmon/hwmon3/in2_input": 5_000,
    "sys/class/hwmon/hwmon3/curr2_input": 800,
}
PI = {
    "usr/bin/vcgencmd": """#!/bin/sh
echo "     VDD_CORE_A current(7)=2.00000000A"
echo "     3V3_SYS_A current(1)=0.10000000A"
echo "     VDD_CORE_V volt(15)=0.80000000V"
echo "     3V3_SYS_V volt(9)=3.00000000V"
echo "      EXT5V_V volt(24)=5.10000000V"
""",
}
POWER_METER = {
    "sys/class/hwmon/hwmon0/name": "amdgpu",
    "sys/class/hwmon/hwmon0/power1_average": 90_000_000,
    "sys/class/hwmon/hwmon1/name": "ina226",
    "sys/class/hwmon/hwmon1/power1_input": 7_500_000,
}
AMD = {
    "sys/class/hwmon/hwmon0/name": "amd_energy",
    "sys/class/hwmon/hwmon0/energy1_input": 1_000_000,
    "sys/class/hwmon/hwmon0/energy1_label": "Ecore000",
    "sys/class/hwmon/hwmon0/energy2_input": 8_000_000,
    "sys/class/hwmon/hwmon0/energy2_label": "Esocket0",
}


@pytest.mark.parametrize(
    ("files", "source", "parts", "reading"),
    [
        (RAPL, "RAPL", ("package-0",), 5.0),
        (AMD, "hwmon energy", ("Esocket0",), 8.0),
        (JETSON, "INA3221", ("VDD_IN",), 10.0),
        (POWER_METER, "hwmon power", ("ina226",), 7.5),
        (PI, "vcgencmd", ("3V3_SYS", "VDD_CORE"), 1.9),
        ({**RAPL, **JETSON}, "INA3221", ("VDD_IN",), 10.0),
    ],
)
def test_meters(
    files: Mapping[str, object], source: str, parts: tuple[str, ...], reading: float, tmp_path: Path
) -> None:
    """Each meter measures the largest whole that it knows, once: parts of it are not added again."""
    meter = find_meter(planted(tmp_path, files))
    assert meter
    assert (meter.source, meter.parts) == (source, parts)
    value = meter.joules()[0] if meter.joules and meter.joules() else meter.watts and meter.watts()  # type: ignore[index]
    assert value == pytest.approx(reading)


def test_all_rails_of_a_jetson_without_one_of_the_module(tmp_path: Path) -> None:
    """Without the rail of the whole module the named rails are added, and named."""
    rails = {**JETSON, "sys/class/hwmon/hwmon3/in1_label": "VDD_GPU_SOC"}
    meter = find_meter(planted(tmp_path, rails))
    assert meter
    assert meter.watts
    assert (meter.parts, meter.watts()) == (("VDD_GPU_SOC", "VDD_CPU_GPU_CV"), pytest.approx(14.0))


def test_no_meter(tmp_path: Path) -> None:
    """A counter that this user may not read, or a card's own power, is no energy of the machine."""
    unreadable = {**RAPL, "sys/class/powercap/intel-rapl:0/energy_uj": "no number"}
    graphics = {name: value for name, value in POWER_METER.items() if "hwmon0" in name}
    assert find_meter(planted(tmp_path, {**unreadable, **graphics})) is None
    with watched(planted(tmp_path, {})) as watch:
        pass
    assert watch.energy(3) is None


def test_a_counter_that_starts_again(tmp_path: Path) -> None:
    """A counter that passed its end between two readings has used what is missing to the end, and what came after."""
    meter = find_meter(planted(tmp_path, RAPL))
    assert meter
    assert meter.used((90.0,), (5.0,)) == pytest.approx(15.0)
    counter = find_meter(planted(tmp_path / "amd", AMD))
    assert counter
    assert counter.used((90.0,), (5.0,)) is None


def test_energy_of_a_measurement(tmp_path: Path) -> None:
    """A counter gives what was added to it; a sensor of power, its mean times the seconds."""
    with watched(planted(tmp_path, RAPL)) as watch:
        planted(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": 11_000_000})
    energy = watch.energy(3)
    assert energy
    assert energy.to_json()["joules_per_answer"] == pytest.approx(2.0)
    assert energy.watts == pytest.approx(6.0 / watch.seconds)
    with watched(planted(tmp_path / "jetson", JETSON)) as watch:
        time.sleep(0.02)
    energy = watch.energy(1)
    assert energy
    assert (energy.watts, energy.joules) == (pytest.approx(10.0), pytest.approx(10.0 * watch.seconds))
