"""Notice that a kept file has changed: the hashes of a directory's files lie beside them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from f2edge.bundle.manifest import sha256
from f2edge.bundle.writing import whole_file

if TYPE_CHECKING:
    from pathlib import Path

SEAL = "sha256.json"
"""The name of the file that holds the hash of every other file of a directory."""
LOCK = "lock"
"""The name of a file that says who works in a directory; nothing is computed from it."""


def seal(directory: Path) -> None:
    """Record the SHA-256 of every file in a directory.

    Raises:
        OSError: a file cannot be read, or the record not written.
    """
    with whole_file(directory / SEAL) as partial:
        partial.write_text(json.dumps(_hashes(directory)), encoding="utf-8")


def is_sealed(directory: Path) -> bool:
    """Tell whether a directory holds exactly the files that were recorded, with the contents that they had then.

    The hashes find damage, such as a bit that a disk has lost, not forgery.
    """
    try:
        recorded = json.loads((directory / SEAL).read_text(encoding="utf-8"))
        return bool(recorded == _hashes(directory))
    except (OSError, ValueError, RecursionError):
        return False


def _hashes(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    names = {path.relative_to(directory).as_posix(): path for path in files}
    return {name: sha256(path) for name, path in sorted(names.items()) if name not in (SEAL, LOCK)}
