"""Drawn pictures with boxes and masks of their shapes, as arrays that heads are trained on.

Half of the pictures are spoilt (blurred, noisy, pale or compressed), and every one has a shape of a kind that the
embedded checkpoint was not trained on, a bow.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scenes import make_scene
from shapes import KINDS, NEW_KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 160
"""Height and width of every picture in pixels, those of the embedded checkpoint."""
LABELS = (*KINDS, *NEW_KINDS)
SPOILT = 0.5
MOST = 6
"""Room for boxes of a picture; a scene has at most four."""


class Pictures(NamedTuple):
    """N pictures and their truth.

    pixels (N, H, W, 3) uint8; boxes (N, MOST, 4) float32 as x1, y1, x2, y2 in pixels, hidden parts included; labels
    (N, MOST) int64, numbers of LABELS or -1 where there is no box; masks (N, H, W) uint8: 0 is background, n + 1 the
    visible part of a shape of label n.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.uint8]


def draw(seed: int, count: int, workers: int = 2) -> Pictures:
    """Draw the first `count` pictures of a collection, in so many processes."""
    with ProcessPoolExecutor(workers) as pool:
        drawn = list(pool.map(partial(draw_one, seed), range(count), chunksize=32))
    return Pictures(*map(np.stack, zip(*drawn, strict=True)))


def draw_one(seed: int, index: int) -> Pictures:
    """Draw one picture of a collection and its truth, without the first axis."""
    scene = make_scene(seed, index, SPOILT, NEW_KINDS[0])
    scale = np.array([SIDE / side for side in scene.image.size])
    boxes, labels = np.zeros((MOST, 4), np.float32), np.full(MOST, -1, np.int64)
    mask = Image.new("L", (SIDE, SIDE))
    for place, shape in enumerate(scene.shapes):
        boxes[place], labels[place] = np.array(shape.box) * [*scale, *scale], LABELS.index(shape.kind)
        outline = (np.array(shape.polygon(circle_points=48)) * scale).ravel().tolist()
        ImageDraw.Draw(mask).polygon(outline, fill=int(labels[place]) + 1)
    resized = scene.image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return Pictures(np.asarray(resized), boxes, labels, np.asarray(mask))


def taken(pictures: Pictures, chosen: NDArray[np.int64]) -> Pictures:
    """Return copies of the pictures with these numbers."""
    return Pictures(*(each[chosen] for each in pictures))


def mirrored(pictures: Pictures, flipped: NDArray[np.bool_]) -> Pictures:
    """Turn left and right round in those `flipped` (N,), in place; return all."""
    pixels, boxes, _, masks = pictures
    pixels[flipped], masks[flipped] = pixels[flipped, :, ::-1], masks[flipped, :, ::-1]
    boxes[flipped, :, ::2] = pixels.shape[2] - boxes[flipped, :, 2::-2]
    return pictures
