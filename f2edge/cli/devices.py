"""``f2edge devices``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from f2edge.cli.options import json_option
from f2edge.cli.output import human_size, print_json, print_table
from f2edge.runtimes import devices, missing
from f2edge.targets import TARGETS

if TYPE_CHECKING:
    from f2edge.runtimes.device import Device

_MIB = 2**20
_COLUMNS = ("runtime", "device", "name", "driver", "memory", "capabilities", "target")


@click.command("devices")
@json_option
def command(*, as_json: bool) -> None:
    """List the devices that the installed engines can use on this machine, and the target to compile for."""
    present = devices()
    if as_json:
        print_json([{**asdict(device), "target": _target(device)} for device in present])
    else:
        print_table(_COLUMNS, [_row(device) for device in present])
    for line in missing():
        click.echo(line, err=True)


def _row(device: Device) -> list[str]:
    memory = human_size(device.memory_mib * _MIB) if device.memory_mib else ""
    cells = (device.driver, memory, " ".join(device.capabilities), _target(device))
    return [device.runtime, device.device, device.name, *(cell or "-" for cell in cells)]


def _target(device: Device) -> str | None:
    """Return the first target for a device; GPU.1, the second GPU, takes the target of every GPU."""
    kind = device.device.split(".", maxsplit=1)[0]
    return next((t.name for t in TARGETS.values() if (t.runtime, t.device) == (device.runtime, kind)), None)
