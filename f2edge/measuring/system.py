"""What the system tells about itself: files of /proc and /sys, and a tool of the Raspberry Pi."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from os import pathsep
from pathlib import Path

_FOLDERS = ("usr/bin", "bin", "opt/vc/bin")
_TOOL_SECONDS = 2.0


@dataclass(frozen=True)
class System:
    """The files below a root, which is ``/`` on a real machine and a planted tree in tests.

    Each reader returns None, or nothing, for what is not there or cannot be read: an absent value is never guessed.
    """

    root: Path = Path("/")

    def text(self, path: str | Path) -> str | None:
        """Return the text of a file without the white space around it.

        Args:
            path: relative to the root, or one that :meth:`paths` has returned.
        """
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip(" \t\r\n\0")
        except OSError:
            return None

    def number(self, path: str | Path) -> float | None:
        """Return the one number that a file holds."""
        try:
            return float(self.text(path) or "")
        except ValueError:
            return None

    def paths(self, pattern: str) -> list[Path]:
        """Return the paths that match a pattern relative to the root, in the order of their names."""
        try:
            return sorted(self.root.glob(pattern))
        except OSError:
            return []

    def tool(self, *command: str) -> str | None:
        """Return what a program of the system prints; None if it is missing, fails or takes over two seconds."""
        program = shutil.which(command[0], path=pathsep.join(str(self.root / folder) for folder in _FOLDERS))
        if program is None:
            return None
        try:
            done = subprocess.run(  # noqa: S603 - a program of the system, by a fixed name
                [program, *command[1:]], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=True
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        return done.stdout


SYSTEM = System()
"""This machine."""
