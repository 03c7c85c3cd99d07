"""The demo's training: its loss is correct, it can be resumed, and it writes a checkpoint."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from batches import TASKS, SceneBatches
from losses import text_loss
from model import write_checkpoint
from train import Schedule, Settings, Trainer

from f2edge.compile.checkpoint.load import load_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

FIRST_LOCATION = 10
VOCAB = 1020
SETTINGS = Settings(steps=100, batch_size=2)


def test_a_location_near_the_truth_costs_less_than_a_far_one() -> None:
    """The loss is 0 for the target Gaussian around the true bin, and grows with distance."""
    bins = torch.arange(1000)
    labels = torch.tensor([FIRST_LOCATION + 500, 3])
    losses = []
    for centre in (500, 506, 530):
        logits = torch.full((2, VOCAB), -50.0)
        logits[0, FIRST_LOCATION : FIRST_LOCATION + 1000] = -0.5 * ((bins - centre) / 6.0) ** 2
        logits[1, 3] = 50.0
        losses.append(text_loss(logits, labels, torch.tensor([0, 0]), FIRST_LOCATION, sigma=6.0).location)
    assert losses[0] == pytest.approx(0, abs=1e-4)
    assert losses[0] < losses[1] < losses[2]


def test_a_single_bin_costs_its_cross_entropy() -> None:
    """With no width, uniform scores of the locations cost the logarithm of all entries."""
    loss = text_loss(torch.zeros(1, VOCAB), torch.tensor([FIRST_LOCATION]), torch.tensor([0]), FIRST_LOCATION, 0.0)
    assert loss.location == pytest.approx(math.log(VOCAB), rel=1e-5)


def test_words_cost_their_cross_entropy() -> None:
    """Uniform scores cost the logarithm of the vocabulary's size, for their task only."""
    labels = torch.tensor([3, 4, 2])
    task = torch.tensor([TASKS.index("OCR")] * 3)
    loss = text_loss(torch.zeros(3, VOCAB), labels, task, FIRST_LOCATION, sigma=6.0)
    assert loss.text == pytest.approx(math.log(VOCAB), rel=1e-5)
    assert loss.per_task[TASKS.index("OCR")].item() == pytest.approx(math.log(VOCAB), rel=1e-5)
    assert loss.per_task[TASKS.index("OD")].isnan()


def test_the_schedule_warms_up_and_ends_at_rest() -> None:
    """The learning rate rises, then falls to a hundredth; the teacher fades, and location targets sharpen."""
    rates = [Schedule(p).learning_rate(step) for p, step in ((0.0, 0), (0.05, 300), (0.5, 3000), (1.0, 6000))]
    assert rates[0] < rates[1] > rates[2] > rates[3]
    assert rates[3] == pytest.approx(8e-6)
    assert Schedule(0.1).dense_weight == 1 > Schedule(0.9).dense_weight > 0
    assert Schedule(0.1).sigma == 6 > Schedule(0.95, soft_locations=True).sigma == 2.5
    assert Schedule(0.95).sigma == 0


def test_training_resumes_exactly(tmp_path: Path) -> None:
    """A saved and resumed training has the same weights as one without a stop."""
    torch.set_num_threads(1)
    batches = SceneBatches(2)
    trainer = Trainer(tmp_path, SETTINGS)
    trainer.train_step(batches[0])
    trainer.save()
    resumed = Trainer(tmp_path, SETTINGS)
    resumed.load()
    assert (resumed.step, resumed.progress) == (1, 0.01)
    trainer.train_step(batches[1])
    resumed.train_step(batches[1])
    pairs = zip(trainer.ema.state_dict().values(), resumed.ema.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_training_starts_from_a_checkpoint(tmp_path: Path) -> None:
    """The weights of a checkpoint are those that a training starts with."""
    trainer = Trainer(tmp_path, SETTINGS)
    write_checkpoint(trainer.model, tmp_path / "start")
    other = Trainer(tmp_path, SETTINGS)
    torch.nn.init.zeros_(other.model.shared.weight)
    other.start_from(tmp_path / "start")
    for model in (other.model, other.ema):
        assert torch.equal(model.shared.weight, trainer.model.shared.weight.half().float())


def test_the_report_is_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What training writes loads like any Florence-2 in Microsoft's layout, and stays under 15 MB."""
    monkeypatch.setattr("train.evaluate", lambda _model, _tokenizer: {})
    trainer = Trainer(tmp_path, SETTINGS)
    trainer.report()
    checkpoint = load_checkpoint(tmp_path / "checkpoint")
    assert checkpoint.layout == "microsoft"
    assert (checkpoint.settings.num_beams, checkpoint.settings.no_repeat_ngram_size) == (3, 3)
    assert checkpoint.model.geometry == trainer.model.geometry
    assert torch.equal(checkpoint.model.shared.weight, trainer.ema.shared.weight.half().float())
    assert sum(file.stat().st_size for file in (tmp_path / "checkpoint").iterdir()) < 15e6
