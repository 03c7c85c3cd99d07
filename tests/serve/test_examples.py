"""The files of ``examples/serve`` call the command as it is."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from f2edge.cli import cli
from f2edge.serve.settings import Settings

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "serve"
FILES = sorted(FOLDER.iterdir())


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_options_are_known(path: Path) -> None:
    """Each option of ``f2edge serve`` that a file names exists."""
    text = path.read_text("utf-8")
    command = cli.get_command(click.Context(cli), "serve")
    assert command
    known = {option for parameter in command.params for option in parameter.opts}
    (line,) = re.findall(r"^(?:ENTRYPOINT|ExecStart).*$", text, re.MULTILINE)
    named = set(re.findall(r"--[a-z-]+", line))
    assert named
    assert named <= known


def test_the_unit_gives_answers_the_time_to_end() -> None:
    """Systemd waits longer than the server does before it kills."""
    unit = (FOLDER / "f2edge.service").read_text("utf-8")
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(seconds) > Settings().grace_seconds


def test_the_container_is_in_no_group_of_root() -> None:
    """The image names a group beside the user: without one, podman takes group 0."""
    (user, group) = re.findall(r"^USER (\d+):(\d+)$", (FOLDER / "Containerfile").read_text("utf-8"), re.MULTILINE)[0]
    assert int(user) >= 10_000
    assert int(group) >= 10_000
