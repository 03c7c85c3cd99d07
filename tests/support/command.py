"""The command line as tests call it: in this process, or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from f2edge.cli import cli
from tests.support import schemas


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON on stdout."""
        return json.loads(self.stdout)

    @property
    def error(self) -> str:
        """The one line of an expected error."""
        assert self.code == 1, self
        assert self.stderr.count("\n") == 1, self.stderr
        assert self.stderr.startswith("f2edge: "), self.stderr
        return self.stderr.strip()


def f2edge(*arguments: object) -> Outcome:
    """Run a command in this process; an unexpected exception comes through, and so does JSON beside its schema."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="f2edge")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return _checked(arguments, Outcome(result.exit_code, result.stdout, result.stderr))


def start(*arguments: object, first: str = "", stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start a command in a process of its own, after the code ``first``."""
    program = f"{first}\nfrom f2edge.cli import main\nmain()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, text=True)  # noqa: S603


def finish(process: subprocess.Popen[str]) -> Outcome:
    """Wait for a command to end."""
    stdout, stderr = process.communicate(timeout=300)
    return Outcome(process.returncode, stdout or "", stderr)


def f2edge_process(*arguments: object, first: str = "") -> Outcome:
    """Run a command in a process of its own, after the code ``first``."""
    return _checked(arguments, finish(start(*arguments, first=first)))


def _checked(arguments: tuple[object, ...], outcome: Outcome) -> Outcome:
    """Compare the JSON that a command printed, in whatever test, with the command's schema."""
    if "--json" in arguments and arguments[0] in schemas.names():
        for line in outcome.stdout.splitlines():
            schemas.check(str(arguments[0]), json.loads(line))
    return outcome
