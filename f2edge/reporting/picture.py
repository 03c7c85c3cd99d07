"""A picture as a part of a page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from f2edge.image import load_image

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST = 45_000
"""Bytes of the picture in a page that has 400 kB in all."""
_SIDES = (880, 640, 480, 320)
"""Longest sides in pixels, the best first; the smallest one takes less than the largest size, whatever it shows."""
_QUALITY = 80
_LOWEST_QUALITY = 50


def data_uri(path: Path) -> str:
    """Return a picture as a ``data:`` URI of at most 60 kB, made smaller if it is large.

    Raises:
        ImageError: it is not a picture, or is too large to open safely.
    """
    picture = load_image(path)
    for side in _SIDES:
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        quality = _LOWEST_QUALITY if side == _SIDES[-1] else _QUALITY
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= _LARGEST:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
