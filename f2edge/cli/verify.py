"""``f2edge verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import f2edge
from f2edge.bundle.manifest import open_bundle
from f2edge.cli.options import bundle_argument, device_option, json_option, threads_option
from f2edge.cli.output import print_json, spinner
from f2edge.cli.tables import print_verified
from f2edge.errors import DeviceError
from f2edge.verify import verify, verify_maps

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.verified import Verified


@click.command("verify")
@bundle_argument
@device_option
@threads_option
@json_option
def command(*, bundle: Path, device: str | None, threads: int | None, as_json: bool) -> None:
    """Replay the golden cases of BUNDLE on this device."""
    with spinner(f"verifying {bundle}"):
        verified = _verify(bundle, device, threads)
    if as_json:
        print_json(verified.to_json())
    else:
        print_verified(verified)
    if not verified.passed:
        raise DeviceError(
            f"{bundle} does not compute on {verified.device} what it should: {verified.why()}; "
            "compile it for this device, or with --precision fp32"
        )


def _verify(bundle: Path, device: str | None, threads: int | None) -> Verified:
    if open_bundle(bundle, check_hashes=False).graph == "backbone":
        with f2edge.load_backbone(bundle, device, threads=threads) as backbone:
            return verify_maps(backbone)
    return verify(f2edge.load(bundle, device, threads=threads))
