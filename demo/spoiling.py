"""Pictures as bad cameras take them: blurred, noisy, pale, dark, or compressed too much."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

if TYPE_CHECKING:
    from collections.abc import Callable


def spoil(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with one or two faults of random strength; its content stays where it was."""
    count = 1 + int(rng.random() < 0.4)
    for kind in rng.choice(len(_FAULTS), count, replace=False):
        image = _FAULTS[kind](image, rng)
    return image


def _blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur with a Gaussian of 1 to 4 pixels (pictures are about 300 pixels wide)."""
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 4))))


def _noise(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add noise with a standard deviation of 10 to 45 of 255 levels to each channel."""
    pixels = np.asarray(image, np.float32)
    noise = rng.standard_normal(pixels.shape, dtype=np.float32) * float(rng.uniform(10, 45))
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def _fade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Take 20 to 60 % of the contrast away, and make the picture up to 40 % darker or 30 % brighter."""
    faded = ImageEnhance.Contrast(image).enhance(float(rng.uniform(0.4, 0.8)))
    return ImageEnhance.Brightness(faded).enhance(float(rng.uniform(0.6, 1.3)))


def _compress(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Save as JPEG of quality 4 to 20, and read it back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(rng.integers(4, 21)))
    return Image.open(buffer).convert("RGB")


_FAULTS: tuple[Callable[[Image.Image, np.random.Generator], Image.Image], ...] = (_blur, _noise, _fade, _compress)
