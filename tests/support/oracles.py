"""The oracle files: where they are, and how they are read, unpacked and packed."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

ORACLES = ROOT / "tests" / "oracles"
"""The committed files; tests read the unpacked copy that the ``oracles_dir`` fixture gives."""

CHECKPOINTS = Path(os.environ.get("F2EDGE_FIXTURES", ROOT.parent / "shared" / "fixtures"))
"""The folder of Microsoft's tiny checkpoints and the arrays recorded for them, 31 MB; not in the repository."""

PACKED_FROM = 200_000
"""Text files of at least this many bytes are committed with gzip compression."""

_DATA = {".json", ".jsonl", ".npz", ".png", ".jpg"}
_TEXT = {".json", ".jsonl"}


def has_checkpoints() -> bool:
    """Tell whether the folder of the big checkpoints is there."""
    return (CHECKPOINTS / "ms_tiny").is_dir()


def unpack(directory: Path) -> None:
    """Copy the committed files into a directory, decompressed."""
    for source in ORACLES.rglob("*"):
        target = directory / source.relative_to(ORACLES)
        packed = source.suffix == ".gz"
        if packed or source.suffix in _DATA:
            target.parent.mkdir(parents=True, exist_ok=True)
            plain = target.with_suffix("") if packed else target
            plain.write_bytes(gzip.decompress(source.read_bytes()) if packed else source.read_bytes())


def pack(source: Path, target: Path) -> None:
    """Write one plain file in the form in which it is committed: large texts compressed, the others as they are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    data = source.read_bytes()
    if source.suffix in _TEXT and len(data) >= PACKED_FROM:
        target.with_name(f"{target.name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    else:
        shutil.copyfile(source, target)


def load(path: Path) -> Any:
    """Read a .jsonl file as a list, a .json file as it is, or an .npz file as a dictionary of arrays."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return dict(arrays)
    text = path.read_text(encoding="ascii")
    return [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text)


def dump(content: Any, path: Path) -> None:
    """Write what ``load`` reads; the same content gives the same bytes."""
    if path.suffix == ".npz":
        np.savez_compressed(path, **content)
    elif path.suffix == ".jsonl":
        path.write_bytes("".join(json.dumps(line) + "\n" for line in content).encode("ascii"))
    else:
        path.write_bytes(json.dumps(content, indent=1).encode("ascii"))
