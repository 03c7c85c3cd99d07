"""The study of heads over the backbone: pictures fit their truth, right answers get full marks, frozen is frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import detector
import numpy as np
import pytest
import torch
from pictures import LABELS, SIDE, Pictures, draw_one, mirrored, taken
from tasks import TASKS
from torch import nn
from training import Training, new_backbone, train

from f2edge.compile.checkpoint.load import load_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 12


@pytest.fixture(scope="module")
def drawn() -> Pictures:
    """Draw some pictures."""
    return Pictures(*map(np.stack, zip(*(draw_one(5, index) for index in range(COUNT)), strict=True)))


def test_boxes_and_masks_are_of_the_same_shapes(drawn: Pictures) -> None:
    """Every picture has a bow; the visible part of a label lies within its boxes and fills a part of them."""
    assert (drawn.labels == LABELS.index("bow")).any(1).all()
    for boxes, labels, mask in zip(*drawn[1:], strict=True):
        for label in set(labels[labels >= 0]):
            inside = np.zeros((SIDE, SIDE), bool)
            for x1, y1, x2, y2 in boxes[labels == label]:
                inside[int(y1) : int(y2) + 2, int(x1) : int(x2) + 2] = True
            of_label = mask == label + 1
            assert of_label.sum() > 0.15 * inside.sum()
            assert not (of_label & ~inside).any()


def test_a_mirror_moves_pixels_boxes_and_masks_alike(drawn: Pictures) -> None:
    """Twice mirrored is as before; once mirrored, the masks still lie in the boxes; the others stay as they are."""
    flipped = np.arange(COUNT) % 2 == 0
    once = mirrored(taken(drawn, np.arange(COUNT)), flipped)
    test_boxes_and_masks_are_of_the_same_shapes(once)
    assert (once.boxes[flipped] != drawn.boxes[flipped]).any()
    for before, after in zip(drawn, once, strict=True):
        assert (before[~flipped] == after[~flipped]).all()
    for before, after in zip(drawn, mirrored(once, flipped), strict=True):
        np.testing.assert_allclose(before, after, atol=1e-4)


class NoBackbone(nn.Module):
    """A backbone without maps."""

    channels: tuple[int, ...] = ()


class Knowing(detector.Detector):
    """A detector that says at each place what the loss wants there."""

    def __init__(self, pictures: Pictures) -> None:
        super().__init__(NoBackbone(), len(LABELS))
        self.boxes, self.labels = torch.from_numpy(pictures.boxes), torch.from_numpy(pictures.labels)

    def forward(self, _pixels: torch.Tensor) -> detector.Places:
        """Return the targets themselves."""
        size = (SIDE // detector.STRIDE,) * 2
        peaks = detector._peaks(self.boxes, self.labels, size)
        nearest = peaks.argmax(1)[:, None, None].expand(-1, 1, 4, -1, -1)
        sides = detector._sides(self.boxes, size).gather(1, nearest)[:, 0]
        return detector.Places(detector._by_class(peaks, self.labels, len(LABELS)).logit(1e-6), sides)


def test_the_detectors_targets_are_right_answers(drawn: Pictures) -> None:
    """What the loss wants has little loss, is decoded to the true boxes, and scores 100; other answers are worse."""
    knowing = Knowing(drawn)
    boxes, labels = (torch.from_numpy(each) for each in (drawn.boxes, drawn.labels))
    places = knowing(torch.zeros(()))
    assert knowing.loss(places, boxes, labels) < 0.2
    assert knowing.loss(places._replace(sides=places.sides + 4), boxes, labels) > 0.5
    assert knowing.loss(places._replace(classes=places.classes.roll(1, 1)), boxes, labels) > 5
    knowing.boxes, knowing.labels = knowing.boxes[:COUNT], knowing.labels[:COUNT]
    assert TASKS["detector"].score(knowing, drawn, "cpu") == {"map": 100.0, "ap50": 100.0}
    knowing.labels = knowing.labels.roll(1, 0)
    assert TASKS["detector"].score(knowing, drawn, "cpu")["map"] < 30


def test_generalised_iou() -> None:
    """It is the IoU of boxes of which one holds the other, and less where the hull has an empty corner."""
    whole, half = torch.full((1, 4, 1, 1), 2.0), torch.tensor([2.0, 2, 0, 2])[None, :, None, None]
    assert detector.generalised_iou(whole, half).item() == pytest.approx(0.5)
    corner = torch.tensor([4.0, 4, 2, 2])[None, :, None, None]
    other = torch.tensor([2.0, 2, 4, 4])[None, :, None, None]
    assert detector.generalised_iou(corner, other).item() == pytest.approx(16 / 56 - 8 / 64)


class Painter(nn.Module):
    """A segmenter that gives masks; as `forget` says, one label is taken for background."""

    def __init__(self, pictures: Pictures, forget: int = 0) -> None:
        super().__init__()
        masks = torch.from_numpy(pictures.masks).long()
        self.masks = masks.where(masks != forget, torch.zeros(()).long())

    def answers(self, _pixels: torch.Tensor) -> torch.Tensor:
        """Return the label of each pixel."""
        return self.masks


def test_mean_iou(drawn: Pictures) -> None:
    """The true masks score 100; a label that is never found costs its share and what background has in excess."""
    task, labels = TASKS["segmenter"], len(LABELS) + 1
    assert task.score(Painter(drawn), drawn, "cpu") == {"miou": 100.0}
    assert set(np.unique(drawn.masks)) == set(range(labels))
    missed = task.score(Painter(drawn, forget=labels - 1), drawn, "cpu")["miou"]
    assert 100 * (labels - 2) / labels < missed < 100 * (labels - 1) / labels


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize(("start", "frozen"), [("pretrained", True), ("scratch", False)])
def test_training(tiny_checkpoint: Path, drawn: Pictures, task: str, start: str, frozen: bool) -> None:
    """The head learns; a frozen tower keeps the checkpoint's weights, and one from scratch has others and changes."""
    small = Pictures(*(each[:4] for each in drawn))
    training = Training(task, start, frozen, steps=6, batch=2)
    before = new_backbone(tiny_checkpoint, start, training.seed).state_dict()
    loaded = load_checkpoint(tiny_checkpoint).model.vision_tower.state_dict()
    equal = [torch.equal(value, before[f"vision_tower.{name}"]) for name, value in loaded.items()]
    assert all(equal) == (start == "pretrained")
    report, model = list(train(training, tiny_checkpoint, small, small, looks=2))[-1]
    assert [point["step"] for point in report["curve"]] == [3, 6]
    after = {name.split("backbone.", 1)[1]: value for name, value in model.state_dict().items() if "backbone." in name}
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before) == frozen
