"""Print expected errors in one line."""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import IO, Any

import click

from f2edge.lines import one_line

_ADVICE = {
    errno.ENOSPC: "free some space or choose another disk",
    errno.EDQUOT: "free some space or choose another disk",
    errno.EFBIG: "raise the limit on file sizes or choose another disk",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EROFS: "choose another place",
}

_ARGUMENT = re.compile(r"`([a-z_]+)`")


class Failure(click.ClickException):
    """An expected error: one line on stderr, and exit code 1."""

    exit_code = 1

    def show(self, _file: IO[Any] | None = None) -> None:
        """Print the line on stderr."""
        print_failure(self.message)


def print_failure(message: str) -> None:
    """Print one line on stderr, whatever the message of a library holds."""
    click.echo(one_line(f"f2edge: {' '.join(message.split())}"), err=True)


def reason(error: BaseException) -> str:
    """Return what is wrong, where, and what to do."""
    if isinstance(error, MemoryError):
        return "out of memory; use fewer beams, a smaller image size, or a machine with more memory"
    if isinstance(error, OSError):
        advice = _ADVICE.get(error.errno or 0, "check the path")
        return f"{error.filename or 'reading or writing failed'}: {error.strerror or error}; {advice}"
    return str(error) or type(error).__name__


def with_options(message: str, command: click.Command | None) -> str:
    """Name options instead of arguments: errors of the library put the names of its arguments into backticks.

    Args:
        message: such as "`max_new_tokens` 0: this checkpoint takes 1 to 1024".
        command: the subcommand; a name that is none of its parameters stays, without the backticks.
    """
    parameters = {parameter.name: max(parameter.opts, key=len) for parameter in command.params} if command else {}
    return _ARGUMENT.sub(lambda match: parameters.get(match[1], match[1]), message)


def abandon_stdout() -> None:
    """If stdout cannot be written, drop its buffer, which would fail once more when Python exits."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
