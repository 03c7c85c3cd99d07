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
_COLUMNS = ("runtime", "device", "name", "driver", "memory", "capabilities", "target", "precision")
_DOT_PRODUCTS = {"avx_vnni", "avx512_vnni", "amx", "asimddp", "i8mm"}
"""Instruction sets that multiply and add numbers of 8 bits at once, so that INT8 is the fastest precision."""


@click.command("devices")
@json_option
def command(*, as_json: bool) -> None:
    """List the devices that the installed engines can use on this machine, and what to compile for them."""
    present = devices()
    if as_json:
        print_json(
            [{**asdict(device), "target": _target(device), "precision": _precision(device)} for device in present]
        )
    else:
        print_table(_COLUMNS, [_row(device) for device in present])
    for line in missing():
        click.echo(line, err=True)


def _row(device: Device) -> list[str]:
    memory = human_size(device.memory_mib * _MIB) if device.memory_mib else ""
    features = " ".join((*device.capabilities, *device.instruction_sets))
    cells = (device.driver, memory, features, _target(device), _precision(device))
    return [device.runtime, device.device, device.name, *(cell or "-" for cell in cells)]


def _target(device: Device) -> str | None:
    """Return the first target for a device; GPU.1, the second GPU, takes the target of every GPU."""
    kind = device.device.split(".", maxsplit=1)[0]
    rows = [target for target in TARGETS.values() if target.runtime == device.runtime]
    return next((target.name for target in rows if kind in (target.device, *target.other_devices)), None)


def _precision(device: Device) -> str | None:
    """Return the fastest precision that is right on a device: INT8 where a CPU is made for it, or the target's own."""
    if _DOT_PRODUCTS.intersection(device.instruction_sets):
        return "int8"
    target = _target(device)
    return TARGETS[target].precisions["vision"] if target else None
