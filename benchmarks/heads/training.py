"""One training of a head, and of the backbone under it or not."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pictures import mirrored, taken
from tasks import TASKS
from torch import nn

from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.reference.backbone import Backbone
from f2edge.compile.reference.davit import DaViT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pictures import Pictures

WARMUP = 0.05
"""The share of the steps over which the learning rate rises; then it falls with a cosine."""
DECAY = 0.05


@dataclass(frozen=True)
class Training:
    """What is trained, and how.

    Attributes:
        task: "detector" or "segmenter".
        start: where the weights of the tower come from: "pretrained", the checkpoint's, or "scratch", random ones.
        frozen: the tower keeps these weights; only the head is trained.
        steps: how many batches.
        seed: of the head's weights, of a tower from scratch, and of the order of the pictures.
        tower_rate: the highest learning rate of the tower.
        head_rate: that of the head.
        batch: pictures of a step.
    """

    task: str
    start: str
    frozen: bool
    steps: int
    seed: int = 0
    tower_rate: float = 1e-3
    head_rate: float = 1e-3
    batch: int = 16

    @property
    def name(self) -> str:
        """A name for files and progress."""
        way = "frozen" if self.frozen else f"trained-{self.tower_rate:g}"
        return f"{self.task}-{self.start}-{way}-{self.steps}-{self.seed}"


def new_backbone(checkpoint: Path, start: str, seed: int) -> Backbone:
    """Return a tower with the checkpoint's weights, or one of the same size with torch's random ones."""
    tower = load_checkpoint(checkpoint).model.vision_tower
    torch.manual_seed(seed)
    return Backbone(tower if start == "pretrained" else DaViT(tower.geometry))


def train(
    training: Training, checkpoint: Path, pictures: Pictures, test: Pictures, device: str = "cpu", looks: int = 10
) -> Iterator[tuple[dict[str, Any], nn.Module]]:
    """Train; after each of `looks` equal parts yield what is known so far, and the model.

    Yields:
        The settings, ``curve``: steps, seconds of training and scores on the test pictures at each look; and the model.
    """
    backbone = new_backbone(checkpoint, training.start, training.seed).requires_grad_(not training.frozen)
    model = TASKS[training.task].head(backbone).to(device)
    optimizer, schedule = _optimizer(model, backbone, training)
    rng, seconds, curve = np.random.default_rng(training.seed), 0.0, list[dict[str, float]]()
    for part in range(looks):
        first, last = (training.steps * number // looks for number in (part, part + 1))
        started = time.perf_counter()
        for _ in range(first, last):
            _step(model, optimizer, training, pictures, rng, device)
            schedule.step()
        seconds += time.perf_counter() - started
        model.eval()
        curve.append({"step": last, "seconds": round(seconds, 1)} | TASKS[training.task].score(model, test, device))
        yield {**asdict(training), "curve": curve}, model


def _optimizer(model: nn.Module, backbone: nn.Module, training: Training) -> tuple[Any, Any]:
    tower = {id(parameter) for parameter in backbone.parameters()}
    head = [parameter for parameter in model.parameters() if id(parameter) not in tower]
    groups: list[dict[str, Any]] = [{"params": head, "lr": training.head_rate}]
    if not training.frozen:
        groups.append({"params": list(backbone.parameters()), "lr": training.tower_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=DECAY)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step / training.steps))


def _share(progress: float) -> float:
    """Return the share of the highest learning rate."""
    return min(1.0, (progress + 1e-3) / WARMUP) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def _step(model: Any, optimizer: Any, training: Training, pictures: Pictures, rng: Any, device: str) -> None:
    chosen = rng.integers(len(pictures.pixels), size=training.batch)
    flipped = rng.random(training.batch) < 0.5
    model.train()
    loss = TASKS[training.task].loss(model, mirrored(taken(pictures, chosen), flipped), device)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
