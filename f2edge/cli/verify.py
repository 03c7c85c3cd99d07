"""``f2edge verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import f2edge
from f2edge.cli.options import bundle_argument, device_option, json_option, threads_option
from f2edge.cli.output import print_json, spinner
from f2edge.cli.tables import print_verified
from f2edge.errors import DeviceError
from f2edge.verify import verify

if TYPE_CHECKING:
    from pathlib import Path


@click.command("verify")
@bundle_argument
@device_option
@threads_option
@json_option
def command(*, bundle: Path, device: str | None, threads: int | None, as_json: bool) -> None:
    """Replay the golden cases of BUNDLE on this device."""
    with spinner(f"verifying {bundle}"):
        verified = verify(f2edge.load(bundle, device, threads=threads))
    if as_json:
        print_json(verified.to_json())
    else:
        print_verified(verified)
    if not verified.passed:
        raise DeviceError(
            f"{bundle} does not compute on {verified.device} what it should: {verified.why()}; "
            "compile it for this device, or with --precision fp32"
        )
