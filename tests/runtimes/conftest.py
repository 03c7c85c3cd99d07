"""Fixtures for the tests of all engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a test an empty user cache, and return OpenVINO's directory in it."""
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "openvino"
