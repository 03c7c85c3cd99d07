"""``f2edge verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import f2edge
from f2edge.cli.options import bundle_argument, device_option, json_option
from f2edge.cli.output import print_json, spinner
from f2edge.cli.tables import print_verified
from f2edge.errors import DeviceError
from f2edge.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.verify import Report


@click.command("verify")
@bundle_argument
@device_option
@json_option
def command(*, bundle: Path, device: str | None, as_json: bool) -> None:
    """Replay the golden cases of BUNDLE on this device."""
    with spinner(f"verifying {bundle}"):
        report = verify(f2edge.load(bundle, device))
    if as_json:
        print_json(report.to_json())
    else:
        print_verified(report.to_json())
    if not report.passed:
        raise DeviceError(f"{bundle} does not compute on {report.device} what it should: {_wrong(report)}")


def _wrong(report: Report) -> str:
    wrong = [f"{c.component} is off by {c.relative_error:.2g}" for c in report.checks if not c.passed]
    found = ", ".join(wrong) or "tokens of the answers differ"
    return f"{found}; compile it for this device, or with --precision fp32"
