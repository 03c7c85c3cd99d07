"""Give memory pages of a mapped file back to the operating system."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

_MAPS = Path("/proc/self/maps")


def release_mapped_pages(file: Path) -> None:
    """Tell Linux that this process does not need the pages of a file for now; do nothing on other systems.

    The mapping stays valid: a page that is read again comes from the file, or from the system's page cache.
    """
    if not sys.platform.startswith("linux") or not _MAPS.is_file():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for start, end in _mappings(str(file.resolve())):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _mappings(path: str) -> list[tuple[int, int]]:
    """List start and end address of a file's read-only mappings; a writable one could lose changes."""
    ranges = []
    for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if fields[5:] == [path] and "w" not in fields[1]:
            start, end = fields[0].split("-")
            ranges.append((int(start, 16), int(end, 16)))
    return ranges
