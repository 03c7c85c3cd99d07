"""Drawing of backgrounds, shapes and words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]
OVERSAMPLING = 2  # edges are smoothed by drawing masks at twice the resolution
PITCH = 0.74  # distance of letters in font sizes; wider than any letter but W and M, which nearly touch


@dataclass(frozen=True)
class Layout:
    """The place of a word: the origin (left, top) of its first letter's slot, and the box it needs."""

    text: str
    font_size: int
    left: float
    top: float
    box: Box


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType: install a Pillow wheel to draw words")
    return font


def word_layout(text: str, size: tuple[int, int], rng: np.random.Generator) -> Layout:
    """Choose size and place of a word inside a picture of `size` (width, height)."""
    font_size = int(rng.uniform(0.15, 0.2) * sum(size) / 2)
    width, height = PITCH * font_size * len(text), 0.8 * font_size
    left, top = rng.uniform(2, size[0] - width - 2), rng.uniform(2, size[1] - height - 2)
    return Layout(text, font_size, float(left), float(top), (left, top, left + width, top + height))


def draw_word(image: Image.Image, layout: Layout, rng: np.random.Generator) -> list[Box]:
    """Write the word in black or white, whichever contrasts more; return the boxes of its letters in pixels."""
    bright = np.asarray(image.convert("L").crop(layout.box)).mean() > 127
    shade = int(rng.integers(0, 30))
    colour = (shade,) * 3 if bright else (255 - shade,) * 3
    stroke = int(rng.integers(1, 3))
    return [_draw_letter(image, layout, k, colour, stroke) for k in range(len(layout.text))]


def _draw_letter(image: Image.Image, layout: Layout, index: int, colour: tuple[int, ...], stroke: int) -> Box:
    letter, font = layout.text[index], _font(layout.font_size)
    x1, y1, x2, y2 = font.getbbox(letter, stroke_width=stroke)
    slot = PITCH * layout.font_size
    x = round(layout.left + index * slot + (slot - (x2 - x1)) / 2 - x1)
    y = round(layout.top + (0.8 * layout.font_size - (y2 - y1)) / 2 - y1)
    ImageDraw.Draw(image).text((x, y), letter, colour, font, stroke_width=stroke)
    return float(x + x1), float(y + y1), float(x + x2), float(y + y2)


def draw_shape(
    image: Image.Image,
    polygon: list[tuple[float, float]],
    colour: tuple[int, int, int],
    rng: np.random.Generator,
) -> None:
    """Fill a polygon (pixels of the picture) with a slightly varied colour."""
    fill = np.clip(np.array(colour) + rng.integers(-14, 15, size=3), 0, 255)
    points = np.array(polygon)
    left, top = (int(v) - 1 for v in points.min(axis=0))
    right, bottom = (int(v) + 2 for v in points.max(axis=0))
    mask = Image.new("L", ((right - left) * OVERSAMPLING, (bottom - top) * OVERSAMPLING))
    scaled = ((points - (left, top)) * OVERSAMPLING).ravel().tolist()
    ImageDraw.Draw(mask).polygon(scaled, fill=255)
    mask = mask.reduce(OVERSAMPLING)
    image.paste(tuple(int(v) for v in fill), (left, top), mask)


def draw_background(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Draw a muted gradient, grain, stripes or checks of two tones."""
    base = rng.uniform(50, 105) if rng.random() < 0.5 else rng.uniform(150, 205)
    tones = base + rng.uniform(-22, 22, size=(2, 1)) + rng.uniform(-14, 14, size=(2, 3))
    blend = _TEXTURES[rng.integers(len(_TEXTURES))](size, rng)
    blend = blend + rng.uniform(0, 0.25) * rng.random(blend.shape, dtype=np.float32)
    pixels = tones[0].astype(np.float32) + blend[..., None] * (tones[1] - tones[0]).astype(np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


Blend = NDArray[np.float32]


def _axes(size: tuple[int, int], rng: np.random.Generator) -> tuple[Blend, Blend]:
    """Return two perpendicular coordinates in picture widths, turned by a random angle."""
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32) / size[0]
    angle = rng.uniform(0, np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * c + y * s, y * c - x * s


def _gradient(size: tuple[int, int], rng: np.random.Generator) -> Blend:
    along, _ = _axes(size, rng)
    scaled: Blend = (along - along.min()) / (along.max() - along.min())
    return scaled


def _stripes(size: tuple[int, int], rng: np.random.Generator) -> Blend:
    along, _ = _axes(size, rng)
    return _parity(along * rng.uniform(5, 14))


def _checks(size: tuple[int, int], rng: np.random.Generator) -> Blend:
    along, across = _axes(size, rng)
    count = rng.uniform(4, 10)
    return _parity(np.floor(along * count) + np.floor(across * count))


def _parity(x: NDArray[np.floating[Any]]) -> Blend:
    parity: Blend = (np.floor(x) % 2).astype(np.float32)
    return parity


def _grain(size: tuple[int, int], rng: np.random.Generator) -> Blend:
    cells = int(rng.integers(8, 80))
    noise = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(noise.resize(size, Image.Resampling.BILINEAR))


_TEXTURES = (_gradient, _stripes, _checks, _grain)
