"""Arguments and options that several subcommands share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from f2edge.paths import is_dir

if TYPE_CHECKING:
    from f2edge.tasks.table import Region

PATH = click.Path(path_type=Path)
POSITIVE = click.IntRange(min=1)


def _device_callback(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("the name is empty; f2edge devices lists what is here.")
    return value


bundle_argument = click.argument("bundle", type=PATH)
device_option = click.option(
    "--device",
    metavar="D",
    callback=_device_callback,
    help="Device to run on, by the engine's name, or one for each component: vision=GPU,decoder=CPU. "
    "By default the device that the bundle was compiled for.",
)
threads_option = click.option(
    "--threads", metavar="N", type=POSITIVE, help="CPU threads; by default the engine chooses."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def budget_callback(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Parse an option in per cent, with or without the sign, to a fraction: "1%" is 0.01."""
    if value is None:
        return None
    try:
        percent = float(value.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not 0 <= percent <= 100:  # noqa: PLR2004
        raise click.BadParameter(f"{value!r} is not a loss from 0% to 100%.")
    return percent / 100


def lora_callback(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> list[tuple[Path, float]]:
    """Parse each DIR[:WEIGHT] to the directory and the weight, 1 by default; a colon may belong to the directory."""
    return [_lora(value) for value in values]


def _lora(value: str) -> tuple[Path, float]:
    directory, colon, text = value.rpartition(":")
    if not colon or is_dir(Path(value)):
        return Path(value), 1.0
    try:
        weight = float(text)
    except ValueError:
        return Path(value), 1.0
    if not directory or not math.isfinite(weight):
        raise click.BadParameter(f"{value!r} is not DIR:WEIGHT with a finite number.")
    return Path(directory), weight


def levels_callback(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Parse an option 1,2,3,4 to whole numbers; they are checked against the tower later."""
    try:
        return tuple(int(number) for number in value.split(",")) if value is not None else ()
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of stages, such as 1,2,3,4.") from None


def region_callback(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Region | None:
    """Parse an option X1,Y1,X2,Y2 to four finite numbers; they are checked against the picture later."""
    if value is None:
        return None
    try:
        x1, y1, x2, y2 = (float(number) for number in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not four numbers X1,Y1,X2,Y2.") from None
    if not all(map(math.isfinite, (x1, y1, x2, y2))):
        raise click.BadParameter(f"{value!r} holds a number that is not finite.")
    return x1, y1, x2, y2
