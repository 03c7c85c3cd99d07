"""The instruction sets of this processor, for tests of what only some processors compute."""

from __future__ import annotations

from pathlib import Path

import pytest

_CPU_INFO = Path("/proc/cpuinfo")
_VNNI = {"avx512_vnni", "avx_vnni"}


def lacks_vnni() -> bool:
    """Tell whether this is an x86 processor without VNNI; where the system does not tell, it is not."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "sse2" in flags and not _VNNI.intersection(flags)


needs_vnni = pytest.mark.skipif(
    lacks_vnni(), reason="without VNNI OpenVINO's INT8 products saturate in 16 bits (docs/devices.md)"
)
