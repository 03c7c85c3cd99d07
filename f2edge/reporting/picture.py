"""A picture as a part of a page."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from f2edge.image import load_image

if TYPE_CHECKING:
    from pathlib import Path

_SIDE = 880
"""The longest side in pixels: twice as many as the page shows on a phone."""
_LARGEST = 120_000
_QUALITIES = (85, 70, 50, 30)


def data_uri(path: Path) -> str:
    """Return a picture as a ``data:`` URI of at most 160 kB, made smaller if it is large.

    Raises:
        ImageError: it is not a picture, or is too large to open safely.
    """
    picture = load_image(path)
    picture.thumbnail((_SIDE, _SIDE))
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= _LARGEST:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
