"""Giving pages of a mapped file back to the system."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

_MAPS = Path("/proc/self/maps")


def release_mapped_pages(file: Path) -> None:
    """Tell Linux that this process needs no page of ``file`` for now; elsewhere nothing happens.

    The mapping stays valid: a page that is read again comes from the file, or from the system's cache of it.
    """
    if not sys.platform.startswith("linux") or not _MAPS.is_file():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for start, end in _mappings(str(file.resolve())):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mappings(path: str) -> list[tuple[int, int]]:
    """Read-only mappings of a file: only there is nothing to lose."""
    found = []
    for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if fields[5:] == [path] and "w" not in fields[1]:
            start, end = fields[0].split("-")
            found.append((int(start, 16), int(end, 16)))
    return found
