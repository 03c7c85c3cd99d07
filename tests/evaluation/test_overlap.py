"""Overlap of boxes, masks and quads, by hand and against COCO's masks."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask

from f2edge.evaluation.overlap import box_iou, mask_iou, matched, quad_iou

SQUARE = (0, 0, 10, 0, 10, 10, 0, 10)


def test_box_iou() -> None:
    """Half of a box, a corner of it, nothing of it, and what is no box."""
    assert box_iou((0, 0, 10, 10), (0, 0, 10, 5)) == pytest.approx(0.5)
    assert box_iou((0, 0, 10, 10), (5, 5, 15, 15)) == pytest.approx(25 / 175)
    assert box_iou((0, 0, 10, 10), (20, 0, 30, 10)) == 0
    assert box_iou((), (0, 0, 10, 10)) == box_iou((5, 5, 5, 5), (5, 5, 5, 5)) == 0


def test_mask_iou() -> None:
    """Two halves are the whole, one is a half; a line is no mask."""
    whole, left, right = [(0, 0, 9, 0, 9, 9, 0, 9)], (0, 0, 4, 0, 4, 9, 0, 9), (5, 0, 9, 0, 9, 9, 5, 9)
    assert mask_iou(whole, [left, right], (20, 20)) == 1
    assert mask_iou(whole, [left], (20, 20)) == pytest.approx(0.5)
    assert mask_iou([(0, 0, 9, 9)], whole, (20, 20)) == mask_iou([], [], (20, 20)) == 0


def test_masks_are_those_of_coco() -> None:
    """Random polygons of 8 points: within 0.03 of COCO's own rasteriser, which draws edges half a pixel thinner."""
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
    """A square against its half, a diamond in it, itself with crossed sides, and a point."""
    assert quad_iou(SQUARE, (0, 0, 10, 0, 10, 5, 0, 5)) == pytest.approx(0.5)
    assert quad_iou(SQUARE, (5, 0, 10, 5, 5, 10, 0, 5)) == pytest.approx(0.5)
    assert quad_iou(SQUARE, (0, 0, 10, 10, 10, 0, 0, 10)) == pytest.approx(1)
    assert quad_iou(SQUARE, (3, 3) * 4) == 0


def test_each_quad_is_found_once() -> None:
    """Two answers for one line are one match; the better pair is taken first."""
    near, far = (0, 0, 10, 0, 10, 9, 0, 9), (50, 50, 60, 50, 60, 60, 50, 60)
    assert matched([SQUARE, near], [SQUARE]) == 1
    assert matched([near, SQUARE], [SQUARE, near]) == 2
    assert matched([far], [SQUARE]) == matched([], [SQUARE]) == matched([SQUARE], []) == 0
