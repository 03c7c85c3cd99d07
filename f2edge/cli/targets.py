"""``f2edge targets``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from f2edge.cli.options import json_option
from f2edge.cli.output import print_json, print_table
from f2edge.targets import TARGETS

if TYPE_CHECKING:
    from f2edge.targets import Target

_COLUMNS = ("target", "runtime", "device", "processor", "memory", "computes in", "precision", "why")


@click.command("targets")
@json_option
def command(*, as_json: bool) -> None:
    """List the devices that a bundle can be compiled for."""
    if as_json:
        print_json([asdict(target) for target in TARGETS.values()])
        return
    print_table(_COLUMNS, [_row(target) for target in TARGETS.values()])


def _row(target: Target) -> tuple[str, ...]:
    memory = ", ".join(map(str, target.memory_gib))
    precision = ", ".join(dict.fromkeys(target.precisions.values()))
    return (
        target.name,
        target.runtime,
        target.device,
        ", ".join(target.architectures),
        f"{memory} GiB" if memory else "-",
        ", ".join(target.capabilities),
        precision,
        target.why,
    )
