"""What the system tells of the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from f2edge import machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("flags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n", True),
        ("model name\t: CPU\nflags\t\t: fpu avx2 avx_vnni\nbugs\t\t: none\n", True),
        ("flags\t\t: fpu sse2 avx2\nvmx flags\t: avx_vnni\n", False),
        ("Features\t: fp asimd asimddp\n", False),
        (None, False),
    ],
    ids=["AVX-512", "AVX", "without", "ARM", "unknown"],
)
def test_vnni(lines: str | None, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of VNNI are seen; a processor that the system does not describe counts as one without."""
    if lines is not None:
        (tmp_path / "cpuinfo").write_text(lines, encoding="utf-8")
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpuinfo")
    assert machine.has_vnni() is found
