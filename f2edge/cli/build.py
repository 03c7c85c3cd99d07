"""``f2edge build``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from f2edge.bundle.manifest import open_bundle
from f2edge.cli.options import POSITIVE, bundle_argument, device_option, json_option
from f2edge.cli.output import human_size, print_json, print_table, share_bar
from f2edge.errors import BundleError, DeviceError

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.runtimes.tensorrt.cache import Engine

_MIB = 2**20


@click.command("build")
@bundle_argument
@device_option
@click.option(
    "--workspace",
    metavar="MIB",
    type=POSITIVE,
    help="Largest workspace of a kernel in MiB; by default a quarter of the GPU's memory.",
)
@json_option
def command(*, bundle: Path, device: str | None, workspace: int | None, as_json: bool) -> None:
    """Build the engines of BUNDLE on this device now; otherwise its first start builds them."""
    opened = open_bundle(bundle)
    if opened.recipe.runtime != "tensorrt":
        raise BundleError(f"{bundle} is for {opened.recipe.runtime}, which has no engines to build; it runs as it is")
    engines = _build(opened, device, workspace)
    if lost := [name for name, engine in engines.items() if engine.path is None]:
        raise DeviceError(f"no directory takes the engines of {', '.join(lost)}; free some space or set XDG_CACHE_HOME")
    if as_json:
        print_json({name: {"path": str(engine.path), "built": engine.built} for name, engine in engines.items()})
        return
    rows = [
        (name, "built" if engine.built else "there already", human_size(len(engine.plan)), str(engine.path))
        for name, engine in engines.items()
    ]
    print_table(("component", "engine", "size", "file"), rows)


def _build(bundle: Bundle, device: str | None, workspace: int | None) -> dict[str, Engine]:
    from f2edge.runtimes import advising

    with advising(bundle.recipe.target):
        from f2edge.runtimes.tensorrt.runtime import build
    with share_bar() as progress:
        limit = None if workspace is None else workspace * _MIB
        return build(bundle, device or bundle.recipe.device, progress, limit)
