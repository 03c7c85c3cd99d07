"""The room on disk that a compilation needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.compile.space import check_space, needed_space
from f2edge.errors import CompileError
from f2edge.targets import TARGETS
from tests.support.geometries import BASE

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS = 230_000_000
"""Of Florence-2-base."""


class Usage(NamedTuple):
    """What ``shutil.disk_usage`` returns, as far as it is read."""

    free: int


def with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Pretend that every disk has so many bytes left."""
    monkeypatch.setattr("f2edge.compile.space.shutil.disk_usage", lambda _path: Usage(free))


def test_what_is_needed() -> None:
    """A bundle of fp32 needs more than one of fp16; INT8 needs 26 MB more for each picture at base size."""
    fp32, fp16 = (needed_space(WEIGHTS, BASE, bytes_per_weight=n, pictures=0) for n in (4, 2))
    assert 1.5e9 < fp16 < fp32 < 3e9
    few, many = (needed_space(WEIGHTS, BASE, bytes_per_weight=1, pictures=n) for n in (8, 128))
    assert 20e6 < (many - few) / 120 < 40e6


def test_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says how much is needed, where, what there is, and that fewer pictures would do."""
    with_free(monkeypatch, 3_000_000_000)
    with pytest.raises(CompileError) as caught:
        check_space(4e9, tmp_path / "not" / "there", 128)
    message = str(caught.value)
    assert message.startswith(f"the compilation needs about 4.0 GB of disk space, and {tmp_path} has 3.0 GB")
    assert "fewer pictures" in message
    assert "\n" not in message
    check_space(2e9, tmp_path, 0)


def test_compile_stops_before_anything_is_written(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check comes before the first stage, and leaves nothing behind."""
    with_free(monkeypatch, 1_000)
    with pytest.raises(CompileError, match="of disk space") as caught:
        build(tiny_checkpoint, tmp_path / "bundle", Options(TARGETS["cpu"]))
    assert "fewer pictures" not in str(caught.value)
    assert not any(tmp_path.iterdir())
