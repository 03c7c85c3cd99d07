"""The instruction sets of this processor, for tests of what only some processors compute."""

from __future__ import annotations

import pytest

from f2edge.machine import has_vnni, instruction_sets


def lacks_vnni() -> bool:
    """Tell whether this is an x86 processor without VNNI; where the system does not tell, it is not."""
    return "avx2" in instruction_sets() and not has_vnni()


needs_vnni = pytest.mark.skipif(
    lacks_vnni(), reason="without VNNI OpenVINO's INT8 products saturate in 16 bits (docs/devices.md)"
)
