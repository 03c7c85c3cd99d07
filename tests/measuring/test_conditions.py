"""The state of a machine as files of /proc and /sys tell it, on machines that these tests plant."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from f2edge.measuring.busy import Contention, CpuTimes, contention, cpu_times
from f2edge.measuring.conditions import Conditions, board, read_conditions
from f2edge.measuring.judging import doubts
from tests.support.planted import planted, stat

if TYPE_CHECKING:
    from pathlib import Path

LAPTOP = {
    "sys/class/dmi/id/sys_vendor": "LENOVO",
    "sys/class/dmi/id/product_name": "21HM",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": 1_000_000,
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": 2_000_000,
    "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": 4_000_000,
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": 3,
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": 4,
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
    "sys/class/thermal/thermal_zone0/temp": 61_500,
    "sys/class/thermal/thermal_zone1/type": "x86_pkg_temp",
    "sys/class/thermal/thermal_zone1/temp": 40_000,
    "sys/class/thermal/thermal_zone2/temp": -274_000,
    "sys/class/hwmon/hwmon0/name": "coretemp",
    "sys/class/hwmon/hwmon0/temp1_input": 70_000,
    "sys/class/hwmon/hwmon0/temp1_label": "Core 0",
    "sys/class/thermal/cooling_device0/type": "Processor",
    "sys/class/thermal/cooling_device0/cur_state": 0,
    "sys/class/thermal/cooling_device1/type": "Fan",
    "sys/class/thermal/cooling_device1/cur_state": 2,
    "sys/class/power_supply/BAT0/type": "Battery",
    "sys/class/power_supply/BAT0/status": "Discharging",
    "sys/class/power_supply/hidpp_battery_0/type": "Battery",
    "sys/class/power_supply/hidpp_battery_0/scope": "Device",
    "proc/loadavg": "0.52 0.41 0.30 1/300 4169",
}


def test_a_laptop_on_its_battery(tmp_path: Path) -> None:
    """Clocks are means, sensors of one name are numbered, and an absurd temperature is left out."""
    system = planted(tmp_path, LAPTOP)
    assert read_conditions(system) == Conditions(
        governor="powersave",
        clock_mhz=1500.0,
        clock_max_mhz=4000.0,
        temperatures_c={"x86_pkg_temp": 61.5, "x86_pkg_temp 2": 40.0, "coretemp Core 0": 70.0},
        load=0.52,
        on_battery=True,
        throttle_events=7,
        throttled=False,
    )
    assert board(system) == "LENOVO 21HM"


@pytest.mark.parametrize(("flags", "throttled"), [("0x0", False), ("0x50000", False), ("0x50005", True)])
def test_a_raspberry_pi(flags: str, throttled: bool, tmp_path: Path) -> None:
    """Only the bits of this moment count, not those of what has been since the start."""
    files = {"usr/bin/vcgencmd": f"#!/bin/sh\necho throttled={flags}", "proc/device-tree/model": "Raspberry Pi 5\0"}
    system = planted(tmp_path, files)
    assert read_conditions(system) == Conditions(throttled=throttled)
    assert board(system) == "Raspberry Pi 5"


def test_nothing_is_guessed(tmp_path: Path) -> None:
    """Where the system tells nothing, or nonsense, every field is None."""
    assert read_conditions(planted(tmp_path, {})) == Conditions()
    nonsense = {name: value if name.endswith(("type", "scope")) else "nonsense" for name, value in LAPTOP.items()}
    system = planted(tmp_path, {**nonsense, "usr/bin/vcgencmd": "#!/bin/sh\nexit 1", "proc/stat": "cpu x"})
    assert replace(read_conditions(system), governor=None) == Conditions()
    assert cpu_times(system) is None


def test_who_else_took_processor_time(tmp_path: Path) -> None:
    """Others are all but this process; stolen time is a share of all processors."""
    times = cpu_times(planted(tmp_path, {"proc/stat": stat(user=500, idle=100, stolen=50)}))
    assert times
    assert times.processors == 4
    before = CpuTimes(moment=0.0, busy=100.0, stolen=5.0, own=10.0, processors=4)
    after = CpuTimes(moment=10.0, busy=140.0, stolen=9.0, own=30.0, processors=4)
    assert contention(before, after) == Contention(others=2.0, stolen=0.1, processors=4)
    assert contention(before, None) is contention(after, before) is None


def test_bad_conditions_have_words() -> None:
    """Each doubt is a sentence; a machine that was left alone has none."""
    quiet = Conditions(throttle_events=3, on_battery=False, throttled=False)
    assert doubts(quiet, quiet, Contention(0.1, 0.0, 4)) == doubts(Conditions(), Conditions(), None) == ()
    hot = replace(quiet, throttle_events=5, on_battery=True)
    assert doubts(quiet, hot, Contention(1.0, 0.02, 4)) == (
        "the machine was busy: other processes kept 1.0 of 4 processors busy",
        "the host gave 2.0% of the processor time to other virtual machines",
        "the processor was throttled 2 times because it was too hot",
        "the machine ran on its battery",
    )
    assert doubts(quiet, replace(quiet, throttled=True), None) == ("the processor was throttled",)
    assert doubts(quiet, quiet, None, [50.0] * 40 + [60.0] * 40) == (
        "the speed changed during the measurement: medians of its eighths are 50 to 60 ms",
    )
