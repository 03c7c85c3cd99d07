"""The overlap of boxes, masks and quads, by hand and against COCO's masks."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask

from f2edge.evaluation.overlap import box_iou, mask_iou, matched, quad_iou

SQUARE = (0, 0, 10, 0, 10, 10, 0, 10)


def test_box_iou() -> None:
    """The IoU of a box with its half, with a box at its corner, with one outside, and with an empty one."""
    assert box_iou((0, 0, 10, 10), (0, 0, 10, 5)) == pytest.approx(0.5)
    assert box_iou((0, 0, 10, 10), (5, 5, 15, 15)) == pytest.approx(25 / 175)
    assert box_iou((0, 0, 10, 10), (20, 0, 30, 10)) == 0
    assert box_iou((), (0, 0, 10, 10)) == box_iou((5, 5, 5, 5), (5, 5, 5, 5)) == 0


def test_mask_iou() -> None:
    """Two halves together are the whole mask, one is a half, and a line has no area."""
    whole, left, right = [(0, 0, 9, 0, 9, 9, 0, 9)], (0, 0, 4, 0, 4, 9, 0, 9), (5, 0, 9, 0, 9, 9, 5, 9)
    assert mask_iou(whole, [left, right], (20, 20)) == 1
    assert mask_iou(whole, [left], (20, 20)) == pytest.approx(0.5)
    assert mask_iou([(0, 0, 9, 9)], whole, (20, 20)) == mask_iou([], [], (20, 20)) == 0


def test_masks_agree_with_coco() -> None:
    """Random polygons of 8 points agree to 0.03 with COCO's masks, whose edges are half a pixel thinner."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    for _ in range(30):
        polygons = []
        for centre in (rng.uniform(90, 110, 2), rng.uniform(80, 120, 2)):
            radii = rng.uniform(40, 70, 8)
            points = centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
            polygons.append([float(value) for value in points.ravel()])
        encoded = [coco_mask.frPyObjects([polygon], 200, 200)[0] for polygon in polygons]
        expected = float(coco_mask.iou(encoded[:1], encoded[1:], [0])[0][0])
        assert mask_iou(polygons[:1], polygons[1:], (200, 200)) == pytest.approx(expected, abs=0.03)


def test_quad_iou() -> None:
    """The IoU of a square with its half, with a diamond, with itself with crossed sides, and with a point."""
    assert quad_iou(SQUARE, (0, 0, 10, 0, 10, 5, 0, 5)) == pytest.approx(0.5)
    assert quad_iou(SQUARE, (5, 0, 10, 5, 5, 10, 0, 5)) == pytest.approx(0.5)
    assert quad_iou(SQUARE, (0, 0, 10, 10, 10, 0, 0, 10)) == pytest.approx(1)
    assert quad_iou(SQUARE, (3, 3) * 4) == 0


def test_each_quad_is_matched_once() -> None:
    """Two answers for one line are one match, and the better pair is matched first."""
    near, far = (0, 0, 10, 0, 10, 9, 0, 9), (50, 50, 60, 50, 60, 60, 50, 60)
    assert matched([SQUARE, near], [SQUARE]) == 1
    assert matched([near, SQUARE], [SQUARE, near]) == 2
    assert matched([far], [SQUARE]) == matched([], [SQUARE]) == matched([SQUARE], []) == 0
