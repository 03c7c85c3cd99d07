"""The command line.

Results go to stdout, everything else to stderr.  Exit codes: 0; 1 with one line that says what is wrong, where and
what to do; 2 for wrong usage; 130 after an interrupt.  Any other exception is a bug and keeps its traceback.
"""

from __future__ import annotations

import errno
import importlib
import logging
import sys

import click

from f2edge import __version__
from f2edge.cli.failure import Failure, abandon_stdout, print_failure, reason, with_options
from f2edge.cli.streams import prepare_streams
from f2edge.errors import F2EdgeError

COMMANDS = {
    "compile": "Turn a checkpoint into a bundle.",
    "build": "Build the engines of a bundle on this device.",
    "run": "Ask a bundle a question about pictures.",
    "serve": "Answer questions over HTTP, and show a page for them.",
    "annotate": "Annotate many pictures, and filter what the model says.",
    "bench": "Measure how fast a bundle answers on this device.",
    "report": "Put measurements side by side on a page or in a table.",
    "eval": "Measure the accuracy of bundles on a data set.",
    "calibrate": "Fit the confidences of a bundle to a data set.",
    "verify": "Replay the golden cases on this device.",
    "inspect": "Check a bundle and show its contents.",
    "devices": "List the devices of this machine.",
    "targets": "List the devices that a bundle can be compiled for.",
}
"""Subcommands and their summaries; each has a module of its name, imported when it is called."""

_INTERRUPTED = 130


class CommandGroup(click.Group):
    """Imports the module of a subcommand when it is called, and prints expected errors in one line."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """List the subcommands, in the order that a user needs them."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a subcommand."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"f2edge.cli.{cmd_name}").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries without importing anything for them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a subcommand.

        Raises:
            Failure: an error that the user can do something about.
        """
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()  # a full disk shows here, not after the exit status has been decided
        except KeyboardInterrupt:
            sys.exit(_INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of stdout has gone; click ends quietly
                raise
            abandon_stdout()
            raise Failure(reason(error)) from error
        except F2EdgeError as error:
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            raise Failure(with_options(reason(error), command)) from error
        except MemoryError as error:
            raise Failure(reason(error)) from error
        return value


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="f2edge")
def cli() -> None:
    """Florence-2 on edge devices: compile a checkpoint into a bundle, run it where it is needed."""


def main() -> None:
    """Entry point of the command ``f2edge``."""
    prepare_streams()
    _log_to_stderr()
    try:
        cli(prog_name="f2edge")
    except OSError as error:  # the help or the version cannot be printed; those of a subcommand are Failures by now
        abandon_stdout()
        print_failure(reason(error))
        sys.exit(Failure.exit_code)


def _log_to_stderr() -> None:
    """Show the messages of f2edge's loggers, such as that an engine is being built, on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("f2edge: %(message)s"))
    logger = logging.getLogger("f2edge")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
