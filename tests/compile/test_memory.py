"""The memory that a compilation needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from f2edge.compile.build import build
from f2edge.compile.memory import check_memory, needed_memory
from f2edge.compile.options import Options
from f2edge.errors import CompileError
from f2edge.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

LARGE = 770_000_000
"""Weights of Florence-2-large."""


def with_memory(monkeypatch: pytest.MonkeyPatch, mib: int | None) -> None:
    """Pretend that this process may take so much memory."""
    monkeypatch.setattr("f2edge.compile.memory.memory_mib", lambda: mib)


def test_what_is_needed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model gets one line with what it needs and what there is; a small one is not worth a line."""
    lines: list[str] = []
    with_memory(monkeypatch, 16_000)
    check_memory(LARGE, int8=True, notice=lines.append)
    check_memory(1_000_000, int8=True, notice=lines.append)
    assert len(lines) == 1
    assert f"{needed_memory(LARGE, int8=True) / 1e9:.1f} GB" in lines[0]
    assert "may take 16.8 GB" in lines[0]


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the memory is not known nothing is refused."""
    with_memory(monkeypatch, None)
    check_memory(LARGE, int8=True, notice=lambda _line: None)


@pytest.mark.parametrize(("mib", "advice"), [(8_000, True), (2_000, False)])
def test_too_little_memory(mib: int, advice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what is needed and what is there; fp16 is advised only where it fits."""
    with_memory(monkeypatch, mib)
    with pytest.raises(CompileError) as caught:
        check_memory(LARGE, int8=True, notice=lambda _line: None)
    message = str(caught.value)
    assert f"may take {mib * 2**20 / 1e9:.1f} GB" in message
    assert ("`precision` fp16" in message) is advice
    assert "\n" not in message


def test_compile_stops_before_anything_is_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check comes first, and leaves nothing behind."""
    with_memory(monkeypatch, 100)
    with pytest.raises(CompileError, match="of memory"):
        build(tiny_checkpoint, tmp_path / "bundle", Options(TARGETS["cpu"]))
    assert not any(tmp_path.iterdir())
