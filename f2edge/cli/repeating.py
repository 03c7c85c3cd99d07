"""The command line that repeats a measurement, without the folders of this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    import click


def repeating_command(ctx: click.Context, leave_out: Container[str] = ()) -> str:
    """Return the command with its arguments and the options that were given.

    Args:
        ctx: the context of a command that runs.
        leave_out: names of parameters that change nothing in what is measured.
    """
    words = [word for param in ctx.command.params if param.name not in leave_out for word in _words(ctx, param)]
    return shlex.join(["f2edge", ctx.info_name or "", *words])


def _words(ctx: click.Context, param: click.Parameter) -> Iterator[str]:
    assert param.name
    value = ctx.params[param.name]
    if ctx.get_parameter_source(param.name) == ParameterSource.DEFAULT or value is None:
        return
    if param.param_type_name == "option":
        yield max(param.opts, key=len)
    yield _shown(param, value)


def _shown(param: click.Parameter, value: Any) -> str:
    """Return a value as the command line takes it; of a path only its last part, which says what it is."""
    if isinstance(value, Path) or param.name == "image":
        return Path(value).resolve().name
    return f"{value:g}" if isinstance(value, float) else str(value)
