"""Pictures to calibrate on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path


def write_pictures(directory: Path, count: int) -> None:
    """Smooth noise of 120x100 pixels, the same at every call."""
    directory.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        noise = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
        Image.fromarray(noise).resize((120, 100)).save(directory / f"{index}.png")
