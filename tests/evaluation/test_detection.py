"""COCO's mean average precision, computed by hand and by an unmodified run of the library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from f2edge.evaluation.detection import AveragePrecision

STAR = (0.0, 0.0, 40.0, 40.0)
AWAY = (60.0, 60.0, 90.0, 90.0)


def scores(truth: list[Any], detections: list[Any]) -> list[float]:
    """Return mAP and AP50 of one picture."""
    return list(AveragePrecision([truth], [detections])(np.arange(1)))


def test_by_hand() -> None:
    """A box with IoU 0.95 counts at all ten thresholds, one with IoU 0.76 at the first six."""
    truth = [("star", *STAR, False)]
    assert scores(truth, [("Star", 0.0, 0.0, 40.0, 38.0, 0.9)]) == pytest.approx([1, 1])
    assert scores(truth, [("star", 0.0, 0.0, 40.0, 30.4, 0.9)]) == pytest.approx([0.6, 1])


def test_order_is_by_confidence() -> None:
    """If the right box has the higher confidence, the score is 1, otherwise one half."""
    truth = [("star", *STAR, False)]
    assert scores(truth, [("star", *STAR, 0.9), ("star", *AWAY, 0.1)]) == pytest.approx([1, 1])
    assert scores(truth, [("star", *STAR, 0.1), ("star", *AWAY, 0.9)]) == pytest.approx([0.5, 0.5])


def test_no_answer_unknown_labels_and_crowds() -> None:
    """No box and an unknown label score 0; boxes in a crowd are ignored; without truth there is no score."""
    truth = [("star", *STAR, False)]
    assert scores(truth, []) == scores(truth, [("blob", *STAR, 0.9)]) == [0, 0]
    crowd = [*truth, ("star", *AWAY, True)]
    assert scores(crowd, [("star", *STAR, 0.1), ("star", 62.0, 62.0, 70.0, 70.0, 0.9)]) == pytest.approx([1, 1])
    assert all(map(math.isnan, scores([], [("star", *STAR, 0.9)])))
    assert all(map(math.isnan, scores([("star", *STAR, True)], [("star", *STAR, 0.9)])))


def random_boxes(pictures: int) -> tuple[list[Any], list[Any]]:
    """Return truth and detections of three categories, with some crowds and some wrong boxes."""
    rng = np.random.default_rng(0)
    truth: list[Any] = [[] for _ in range(pictures)]
    detections: list[Any] = [[] for _ in range(pictures)]
    for picture in range(pictures):
        for _ in range(rng.integers(0, 6)):
            x, y, w, h = rng.uniform((0, 0, 10, 10), (200, 200, 90, 90)).tolist()
            label = f"c{rng.integers(3)}"
            truth[picture].append((label, x, y, x + w, y + h, bool(rng.random() < 0.1)))
            dx, dy, score = rng.normal(0, 5), rng.normal(0, 5), float(rng.random())
            detections[picture].append((label, x + dx, y + dy, x + w, y + h + dy, score))
        detections[picture].append(("c1", 0.0, 0.0, 50.0, 50.0, float(rng.random())))
    return truth, detections


def coco_of(truth: list[Any], detections: list[Any]) -> list[float]:
    """Return mAP and AP50 from the library's own summary, with all defaults."""

    def entries(pictures: list[Any], key: str) -> list[dict[str, Any]]:
        return [
            {"image_id": picture, "category_id": int(n[1]) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0}
            | {"area": (x2 - x1) * (y2 - y1), key: value}
            for picture, boxes in enumerate(pictures, start=1)
            for n, x1, y1, x2, y2, value in boxes
        ]

    dataset = COCO(
        {
            "info": {},
            "images": [{"id": number + 1} for number in range(len(truth))],
            "categories": [{"id": number, "name": str(number)} for number in (1, 2, 3)],
            "annotations": [entry | {"id": k} for k, entry in enumerate(entries(truth, "iscrowd"), start=1)],
        }
    )
    measure = COCOeval_faster(dataset, dataset.loadRes(entries(detections, "score")), "bbox")
    measure.run()
    return [measure.stats_as_dict["AP_all"], measure.stats_as_dict["AP_50"]]


def test_scores_equal_the_librarys() -> None:
    """Count, mAP and AP50 of 40 random pictures equal the library's."""
    truth, detections = random_boxes(40)
    statistic = AveragePrecision(truth, detections)
    assert statistic.count == sum(map(len, truth))
    assert statistic(np.arange(40)) == pytest.approx(coco_of(truth, detections), abs=1e-12)


def test_a_draw_of_pictures_is_a_data_set_of_them() -> None:
    """A picture that is drawn several times counts several times, others not at all."""
    truth, detections = random_boxes(20)
    statistic = AveragePrecision(truth, detections)
    picks = np.array([3, 3, 0, 7, 19, 12, 3, 1, 5, 5, 6, 8, 9, 10, 11, 2, 4, 0, 0, 13])
    expected = coco_of([truth[k] for k in picks], [detections[k] for k in picks])
    assert statistic(picks) == pytest.approx(expected, abs=1e-12)
