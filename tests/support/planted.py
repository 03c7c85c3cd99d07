"""A tree of files as /proc and /sys have them, which a test plants for a machine that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.measuring.system import System

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def planted(root: Path, files: Mapping[str, object]) -> System:
    """Write files below a root, and return the system that they describe; a file in a ``bin`` can be run."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
        if path.parent.name == "bin":
            path.chmod(0o755)
    return System(root)


def stat(user: int, idle: int, stolen: int = 0, processors: int = 4) -> str:
    """Return /proc/stat with these ticks of all processors together."""
    each = "\n".join(f"cpu{number} 0 0 0 0 0 0 0 0 0 0" for number in range(processors))
    return f"cpu  {user} 0 0 {idle} 0 0 0 {stolen} 0 0\n{each}\nintr 5"
