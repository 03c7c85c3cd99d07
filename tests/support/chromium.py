"""A real browser without a window: Debian's chromium, or Google's."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDED = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium; install the package chromium")
_QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")


class Shown(NamedTuple):
    """A page as the browser has it after its scripts have run, and what it complained of."""

    dom: str
    complaints: list[str]


def show(page: Path, profile: Path, *, width: int = 1280) -> Shown:
    """Open a page; errors of scripts and refused requests are complaints."""
    assert PROGRAM
    command = [
        *(PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", *_QUIET, f"--user-data-dir={profile}"),
        *("--enable-logging=stderr", "--virtual-time-budget=4000", f"--window-size={width},900"),
        *("--dump-dom", page.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)  # noqa: S603
    return Shown(done.stdout, re.findall(r"CONSOLE.*", done.stderr))
