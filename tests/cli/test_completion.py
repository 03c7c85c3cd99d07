"""Shell completion of the values that only f2edge knows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete

from f2edge.cli import COMMANDS, cli
from f2edge.tasks.table import TASKS

if TYPE_CHECKING:
    from pathlib import Path

BASH = shutil.which("bash")
IN_BASH = """
eval "$(_F2EDGE_COMPLETE=bash_source f2edge)"
COMP_WORDS=(f2edge run bundle picture --task "$1")
COMP_CWORD=5
_f2edge_completion f2edge
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(*words: str) -> list[tuple[str, str]]:
    """Complete the last of the words after ``f2edge``; return pairs of (kind, value)."""
    *before, last = words
    items = ShellComplete(cli, {}, "f2edge", "_F2EDGE_COMPLETE").get_completions(before, last)
    return [(item.type, item.value) for item in items]


def test_commands_are_completed() -> None:
    """An empty word completes to every subcommand."""
    assert completed("") == [("plain", name) for name in COMMANDS]


@pytest.mark.parametrize("command", [("run", "bundle", "picture"), ("bench", "bundle")])
def test_tasks_are_completed(command: tuple[str, ...]) -> None:
    """``--task`` completes to every task, whatever the case of its beginning."""
    assert completed(*command, "--task", "") == [("plain", name.strip("<>").lower()) for name in TASKS]
    assert completed(*command, "--task", "Region_To_C") == [("plain", "region_to_category")]
    assert completed(*command, "--task", "x") == []


def test_paths_are_completed() -> None:
    """Checkpoints, bundles and pictures are left to the shell, as paths."""
    for words in (["compile"], ["run"], ["run", "bundle"], ["run", "bundle", "picture"], ["bench", "b", "--image"]):
        assert completed(*words, "str") == [("file", "str")], words


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(("typed", "expected"), [("oc", ["ocr", "ocr_with_region"]), ("od", ["od"])])
def test_bash_completes_tasks(typed: str, expected: list[str], tmp_path: Path) -> None:
    """The script that is handed to bash completes the names of tasks."""
    program = tmp_path / "f2edge"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m f2edge "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    command = [str(BASH), "--norc", "-c", IN_BASH, "bash", typed]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == expected
