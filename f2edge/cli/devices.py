"""``f2edge devices``."""

from __future__ import annotations

import click

from f2edge.cli.options import json_option
from f2edge.cli.output import print_json, print_table
from f2edge.runtimes import devices
from f2edge.targets import TARGETS


@click.command("devices")
@json_option
def command(*, as_json: bool) -> None:
    """List the devices that the installed engines see here, and the target to compile for."""
    found = [
        {"runtime": runtime, "device": device, "name": name, "target": _target(runtime, device)}
        for runtime, device, name in devices()
    ]
    if as_json:
        print_json(found)
        return
    rows = [[value or "-" for value in device.values()] for device in found]
    print_table(("runtime", "device", "name", "target"), rows)


def _target(runtime: str, device: str) -> str | None:
    """The target for a device; the second of two GPUs, GPU.1, takes what every GPU takes."""
    kind = device.split(".", maxsplit=1)[0]
    return next((t.name for t in TARGETS.values() if (t.runtime, t.device) == (runtime, kind)), None)
