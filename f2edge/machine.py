"""What machine this is, and how much memory this process took of it."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_STATUS = Path("/proc/self/status")
_KIB, _MIB = 2**10, 2**20


def fingerprint() -> dict[str, str | int]:
    """``platform``, ``python``, ``cpu``, and the ``cores`` that this process may use."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "cores": cores(),
    }


def cpu_name() -> str:
    """The processor in its maker's words, or else its architecture."""
    found = _search(_CPU_INFO, r"^(?:model name|Model)\s*:\s*(.+)$")
    return found or platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_mib() -> int | None:
    """Memory of the machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB
    except (AttributeError, OSError, ValueError):  # Windows has no such function
        return None


def peak_rss_mib() -> float | None:
    """The most memory that this process held, in MiB; None where the system does not tell.

    Linux tells the process's own peak; ``getrusage`` there counts what was held before ``exec``, too.
    """
    own = _search(_STATUS, r"^VmHWM:\s*(\d+) kB$")
    return int(own) * _KIB / _MIB if own else _rusage_mib()


def _rusage_mib() -> float | None:
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else _KIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MIB


def _search(path: Path, pattern: str) -> str:
    try:
        found = re.search(pattern, path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return found.group(1).strip() if found else ""
