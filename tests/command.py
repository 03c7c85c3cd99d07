"""The command line as tests call it: in this process, or in one of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from f2edge.cli import cli


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
    """Run a command in this process; an unexpected exception comes through."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="f2edge")
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def command_line(*arguments: object, first: str = "") -> list[str]:
    """The command for a process of its own, which runs the code ``first`` before."""
    program = f"{first}\nfrom f2edge.cli import main\nmain()"
    return [sys.executable, "-c", program, *map(str, arguments)]


def f2edge_process(*arguments: object, first: str = "") -> Outcome:
    """Run a command in a process of its own, after the code ``first``."""
    command = command_line(*arguments, first=first)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)
