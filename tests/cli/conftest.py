"""Fixtures that the tests of the command line share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a JPEG of 120x90 pixels and return its path."""
    path = tmp_path_factory.mktemp("pictures") / "photo.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((120, 90)).save(path)
    return path
