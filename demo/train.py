"""Train the demo's model from scratch on the CPU, in a given time.

Usage: ``python demo/train.py --minutes 120 [--out demo/training]``

It may be stopped at any time; when it is started again, it continues from the last saved state.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from batches import TASKS, SceneBatches, stream
from curve import evaluate
from dense import DenseHeads
from losses import TextLoss, text_loss
from model import count_parameters, image_features, new_model, write_checkpoint
from torch import Tensor, nn

from f2edge.bundle.writing import whole_file

if TYPE_CHECKING:
    from batches import Batch

    from f2edge.compile.reference.model import ReferenceModel

LEARNING_RATE = 8e-4
WEIGHT_DECAY = 0.05
WARMUP_STEPS = 300
EMA_DECAY = 0.998
LOG_EVERY = 50
SAVE_EVERY = 250


@dataclass(frozen=True)
class Schedule:
    """The values that change over a training; `progress` goes from 0 to 1 with the time."""

    progress: float

    def learning_rate(self, step: int) -> float:
        """Return the learning rate: a linear warm-up over the first steps, then a cosine to a hundredth."""
        return LEARNING_RATE * min(1.0, (step + 1) / WARMUP_STEPS) * (0.01 + 0.99 * self._cosine())

    def _cosine(self) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))

    @property
    def dense_weight(self) -> float:
        """The weight of the tower's teacher: full for 40 % of the training, then falling."""
        return _ramp(self.progress, 0.4, 0.8, 1.0, 0.15)

    @property
    def sigma(self) -> float:
        """The width in bins of the target around a true location."""
        return _ramp(self.progress, 0.3, 0.85, 6.0, 2.5)


def _ramp(x: float, start: float, end: float, before: float, after: float) -> float:
    return before + (after - before) * min(max((x - start) / (end - start), 0.0), 1.0)


class Trainer:
    """The model, its teacher, its optimizer and its average: all that a saved state holds."""

    def __init__(self, out: Path, batch_size: int) -> None:
        torch.manual_seed(0)
        self.out, self.batch_size = out, batch_size
        self.tokenizer = SceneBatches(batch_size).tokenizer
        self.first_location = location_id(self.tokenizer)
        self.model = new_model(self.tokenizer.get_vocab_size())
        self.heads = DenseHeads(self.model.geometry.vision.embed_dim)
        self.ema = copy.deepcopy(self.model).requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(_groups(self.model, self.heads), betas=(0.9, 0.95), fused=True)
        self.step, self.progress = 0, 0.0

    def train_step(self, batch: Batch) -> TextLoss:
        """Take one step of the optimizer and of the average."""
        schedule = Schedule(self.progress)
        with torch.autocast("cpu", torch.bfloat16):
            logits, dense = self._forward(batch)
        loss = text_loss(logits.float(), batch.labels, batch.task, self.first_location, schedule.sigma)
        torch.autograd.backward(loss.total + schedule.dense_weight * dense)
        self._update(schedule)
        return loss._replace(dense=dense.item())

    def _forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        features, maps = image_features(self.model, batch.pixel_values)
        dense = self.heads(maps, batch.dense)
        states = self.model.encode(features[batch.owner], batch.input_ids, batch.attention_mask)
        return self.model.decode(states, batch.decoder_input_ids, batch.attention_mask), dense

    def _update(self, schedule: Schedule) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        nn.utils.clip_grad_norm_(self.heads.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = schedule.learning_rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self._average(min(EMA_DECAY, self.step / (self.step + 10)))

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)

    def save(self) -> None:
        """Write the state; a reader never gets an incomplete file."""
        state = {name: getattr(self, name).state_dict() for name in _STATEFUL}
        state |= {"step": self.step, "progress": self.progress}
        with whole_file(self.out / "state.pt") as partial:
            torch.save(state, partial)

    def load(self) -> None:
        """Continue from the saved state, if there is one."""
        path = self.out / "state.pt"
        if not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.progress = state["step"], state["progress"]

    def report(self) -> None:
        """Evaluate the average, and write it as a checkpoint."""
        scores = evaluate(self.ema, self.tokenizer)
        _append(self.out / "curve.jsonl", {"step": self.step, "progress": self.progress, **scores})
        write_checkpoint(self.ema, self.out / "checkpoint")


_STATEFUL = ("model", "heads", "ema", "optimizer")


def _groups(model: ReferenceModel, heads: nn.Module) -> list[dict[str, Any]]:
    """Return the optimizer's groups: weight decay applies to matrices, not to vectors and embeddings."""
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in [*model.named_parameters(), *heads.named_parameters()]:
        is_table = "embed" in name or name == "shared.weight"
        (others if parameter.ndim < 2 or is_table else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def location_id(tokenizer: Any) -> int:
    """Return the id of the first location token."""
    return int(tokenizer.token_to_id("<loc_0>"))


def _append(path: Path, record: dict[str, Any]) -> None:
    line = json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in record.items()})
    print(line, flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def run(trainer: Trainer, minutes: float, evaluate_every: int) -> None:
    """Train until the time is over; `minutes` is the time that is left, also after a resumption."""
    started, first = time.monotonic(), trainer.progress
    window = Window(trainer)
    for batch in stream(trainer.batch_size, trainer.step):
        window.add(trainer.train_step(batch))
        fraction = (time.monotonic() - started) / (60 * minutes)
        trainer.progress = first + (1 - first) * fraction
        if trainer.step % LOG_EVERY == 0:
            window.log()
        if trainer.step % evaluate_every == 0:
            trainer.report()
        if trainer.step % SAVE_EVERY == 0 or fraction >= 1:
            trainer.save()
        if fraction >= 1:
            break
    trainer.report()


class Window:
    """The losses since the last line of the log."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.losses: list[TextLoss] = []
        self.started = time.monotonic()

    def add(self, loss: TextLoss) -> None:
        """Record the losses of one step."""
        self.losses.append(loss)

    def log(self) -> None:
        """Write one line of means, and start a new window."""
        pictures = len(self.losses) * self.trainer.batch_size
        record: dict[str, Any] = {"step": self.trainer.step, "progress": self.trainer.progress}
        record["images_per_s"] = pictures / (time.monotonic() - self.started)
        for name in ("text", "location", "dense"):
            record[name] = sum(getattr(loss, name) for loss in self.losses) / len(self.losses)
        per_task = torch.stack([loss.per_task for loss in self.losses]).nanmean(0).tolist()
        _append(self.trainer.out / "log.jsonl", record | dict(zip(TASKS, per_task, strict=True)))
        self.losses, self.started = [], time.monotonic()


def main() -> None:
    """Run the command line: --minutes M [--out DIR] [--batch-size B] [--threads N] [--evaluate-every N]."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True, help="time left for the whole run")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "training")
    parser.add_argument("--batch-size", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate-every", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(arguments.out, arguments.batch_size)
    trainer.load()
    print(f"{count_parameters(trainer.model):,} parameters, from step {trainer.step}", flush=True)
    run(trainer, arguments.minutes, arguments.evaluate_every)


if __name__ == "__main__":
    main()
