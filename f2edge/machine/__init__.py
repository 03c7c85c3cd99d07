"""Describe this machine, and the memory that this process took."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from f2edge.machine.quotas import cpu_quota, memory_quota

_CPU_INFO = Path("/proc/cpuinfo")
_TOPOLOGY = Path("/sys/devices/system/cpu")
_STATUS = Path("/proc/self/status")
_KIB, _MIB = 2**10, 2**20
_INSTRUCTION_SETS = {
    "avx2": "avx2",
    "avx_vnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "amx_int8": "amx",
    "asimddp": "asimddp",
    "i8mm": "i8mm",
    "sve": "sve",
    "avx512_bf16": "bf16",
    "amx_bf16": "bf16",
    "bf16": "bf16",
}
"""Our names of instruction sets, by those of the system: x86 first, then 64-bit ARM."""


def fingerprint() -> dict[str, str | int]:
    """Return ``platform``, ``python``, ``cpu``, and the number of ``cores`` that this process may use."""
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_name(),
        "cores": cores(),
    }


def cpu_name() -> str:
    """Return the name of the processor as its vendor writes it, or else its architecture."""
    name = _search(_CPU_INFO, r"^(?:model name|Model)\s*:\s*(.+)$")
    return name or platform.processor() or platform.machine()


def instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets of the processor that decide which precision is fast; none if it is not Linux.

    They are ``avx2``, ``avx_vnni``, ``avx512_vnni``, ``amx``, ``asimddp`` (dot products of 8 bits on ARM), ``i8mm``
    (their products of matrices), ``sve`` and ``bf16``.
    """
    flags = set(_search(_CPU_INFO, r"^(?:flags|Features)\s*:\s*(.+)$").split())
    return tuple(dict.fromkeys(name for flag, name in _INSTRUCTION_SETS.items() if flag in flags))


def has_vnni() -> bool:
    """Tell whether this is an x86 processor with VNNI, which adds products of INT8 in 32 bits; False if unknown.

    Without VNNI the fast kernels of x86 add two products of u8 and s8 in 16 bits, and saturate.
    """
    return not {"avx_vnni", "avx512_vnni"}.isdisjoint(instruction_sets())


def cores() -> int:
    """Return the number of cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int | None:
    """Return how many threads to compute with; None if this process may use the whole machine: the engine knows best.

    It is one for each physical core that the affinity mask names, and no more than the quota of the control group
    pays for: threads beyond it would be stopped in the middle of a product, and the others would wait for them.
    """
    quota = cpu_quota()
    limited = cores() < (os.cpu_count() or 1) or (quota is not None and quota < _physical_cores())
    return usable_cores() if limited else None


def usable_cores() -> int:
    """Return how many physical cores this process may use: those of its affinity mask, as far as its quota pays."""
    physical, quota = _physical_cores(), cpu_quota()
    return physical if quota is None else max(1, min(physical, int(quota)))


def _physical_cores() -> int:
    """Count the physical cores of the affinity mask; processors count as cores where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return cores()
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    """Return the processors that share a physical core with this one; itself if the system does not tell."""
    return _search(_TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list", "(.+)") or str(cpu)


def memory_mib() -> int | None:
    """Return the memory that this process may take in MiB: the machine's, or less if a container has a limit.

    None if the system does not tell.
    """
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no such function
        return None
    return min(whole, memory_quota() or whole) // _MIB


def peak_rss_mib() -> float | None:
    """Return the peak memory of this process in MiB; None if the system does not tell.

    On Linux the peak is read from /proc, since ``getrusage`` also counts the memory held before ``exec``.
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
        match = re.search(pattern, path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return ""
    return match.group(1).strip() if match else ""
