"""``f2edge targets``."""

from __future__ import annotations

from dataclasses import asdict

import click

from f2edge.cli.options import json_option
from f2edge.cli.output import print_json, print_table
from f2edge.targets import TARGETS


@click.command("targets")
@json_option
def command(*, as_json: bool) -> None:
    """List what a bundle can be compiled for."""
    if as_json:
        print_json([asdict(target) for target in TARGETS.values()])
        return
    rows = [
        (t.name, t.runtime, t.device, t.precision, "yes" if t.available else "not yet", t.why) for t in TARGETS.values()
    ]
    print_table(("target", "runtime", "device", "precision", "available", "why"), rows)
