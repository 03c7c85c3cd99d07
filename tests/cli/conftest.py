"""What the tests of the command line share."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    EditBundle: TypeAlias = Callable[[Callable[[dict[str, Any]], object]], Path]


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of 120x90 pixels."""
    path = tmp_path_factory.mktemp("pictures") / "photo.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((120, 90)).save(path)
    return path


@pytest.fixture
def edit_bundle(tiny_bundle: Path, tmp_path: Path) -> EditBundle:
    """Copies the tiny bundle and lets a function change its manifest."""

    def edit(change: Callable[[dict[str, Any]], object]) -> Path:
        path = tmp_path / "edited"
        shutil.copytree(tiny_bundle, path)
        manifest = json.loads((path / "manifest.json").read_text())
        change(manifest)
        (path / "manifest.json").write_text(json.dumps(manifest))
        return path

    return edit
