"""Pixels and location tokens: a coordinate is one of 1000 bins across the image (docs/florence2.md#location-tokens)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

BINS = 1000


def to_bins(coordinates: Sequence[float], image_size: tuple[int, int]) -> list[int]:
    """Turn pixels into bins: clamp(floor(coordinate / (size / 1000)), 0, 999) (docs/florence2.md#location-tokens).

    Args:
        coordinates: x, y, x, y, ... in pixels.
        image_size: (width, height) of the original image.
    """
    bins = [int(value // (image_size[i % 2] / BINS)) for i, value in enumerate(coordinates)]
    return [min(max(number, 0), BINS - 1) for number in bins]


def to_pixels(bins: Sequence[int], image_size: tuple[int, int]) -> list[float]:
    """Turn bins into the pixels at their centres, in float32 like Microsoft (docs/florence2.md#location-tokens).

    Args:
        bins: x, y, x, y, ...
        image_size: (width, height) of the original image.
    """
    pixels_per_bin = np.array([image_size[i % 2] / BINS for i in range(len(bins))], np.float32)
    centres = np.array([number + 0.5 for number in bins], np.float32)
    pixels: list[float] = (centres * pixels_per_bin).tolist()
    return pixels


def location_text(bins: Sequence[int]) -> str:
    """Write bins as location tokens."""
    return "".join(f"<loc_{number}>" for number in bins)
