"""Fixtures that all rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The folder of oracles made with Microsoft's and transformers' own code; not part of the repository."""
    path = Path(os.environ.get("F2EDGE_FIXTURES", ROOT.parent / "shared" / "fixtures"))
    if not path.is_dir():
        pytest.skip(f"the oracle files are not at {path}; set F2EDGE_FIXTURES")
    return path
