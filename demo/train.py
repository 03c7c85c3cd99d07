"""Train the demo's model, in a given number of steps, on the CPU or on a GPU.

Usage: ``python demo/train.py --steps 4000 [--out demo/training] [--start demo/checkpoint] [--soft-locations]``
On a GPU: ``--device cuda --batch-size 128 --learning-rate 1e-3 --workers 15``, as one process draws some 80 pictures
a second.

It may be stopped at any time; when it is started again, it continues from the last saved state.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from batches import IGNORE_INDEX, TASKS, SceneBatches, stream
from curve import evaluate
from dense import DenseHeads
from losses import TextLoss, text_loss
from model import count_parameters, half_precision, image_features, new_model, write_checkpoint
from tokenizers import Tokenizer
from torch import Tensor, nn

from f2edge.bundle.writing import whole_file
from f2edge.compile.checkpoint.load import load_checkpoint

if TYPE_CHECKING:
    from batches import Batch

    from f2edge.compile.reference.model import ReferenceModel

WEIGHT_DECAY = 0.05
WARMUP_STEPS = 300
EMA_DECAY = 0.998
LOG_EVERY = 50
SAVE_EVERY = 100
CHUNKS = 8  # the decoder takes the questions in so many parts of similar length


@dataclass(frozen=True)
class Schedule:
    """The values that change over a training; `progress` goes from 0 to 1 with the steps.

    With `soft_locations` the target around a true location stays a Gaussian over bins until the end; otherwise it
    becomes the single bin, as in Microsoft's training.
    """

    progress: float
    soft_locations: bool = False
    highest_rate: float = 8e-4

    def learning_rate(self, step: int) -> float:
        """Return the learning rate: a linear warm-up over the first steps, then a cosine to a hundredth."""
        return self.highest_rate * min(1.0, (step + 1) / WARMUP_STEPS) * (0.01 + 0.99 * self._cosine())

    def _cosine(self) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))

    @property
    def dense_weight(self) -> float:
        """The weight of the tower's teacher: full for 40 % of the training, then falling."""
        return _ramp(self.progress, 0.4, 0.8, 1.0, 0.15)

    @property
    def sigma(self) -> float:
        """The width in bins of the target around a true location; 0 is the single bin."""
        return _ramp(self.progress, 0.3, 0.75, 6.0, 2.5 if self.soft_locations else 0.0)


def _ramp(x: float, start: float, end: float, before: float, after: float) -> float:
    return before + (after - before) * min(max((x - start) / (end - start), 0.0), 1.0)


@dataclass(frozen=True)
class Settings:
    """What a training does: its steps in all, the pictures of a step, the highest learning rate, and where it runs.

    `workers` processes draw the pictures.
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 8e-4
    soft_locations: bool = False
    device: str = "cpu"
    workers: int = 1


class Trainer:
    """The model, its teacher, its optimizer and its average: all that a saved state holds."""

    def __init__(self, out: Path, settings: Settings) -> None:
        torch.manual_seed(0)
        self.out, self.settings = out, settings
        self.tokenizer = SceneBatches(settings.batch_size).tokenizer
        self.first_location = location_id(self.tokenizer)
        self.model = new_model(self.tokenizer.get_vocab_size()).to(settings.device)
        self.heads = DenseHeads(self.model.geometry.vision.embed_dim).to(settings.device)
        self.ema = copy.deepcopy(self.model).requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.AdamW(_groups(self.model, self.heads), betas=(0.9, 0.95), fused=True)
        self.step = 0

    @property
    def progress(self) -> float:
        """The share of the steps that were taken."""
        return self.step / self.settings.steps

    def train_step(self, batch: Batch) -> TextLoss:
        """Take one step of the optimizer and of the average."""
        schedule = Schedule(self.progress, self.settings.soft_locations, self.settings.learning_rate)
        lengths = (batch.labels != IGNORE_INDEX).sum(1).tolist()
        batch = batch.to(self.settings.device)
        with half_precision():
            logits, dense = self._forward(batch, lengths)
        known = batch.labels != IGNORE_INDEX
        task = batch.task[:, None].expand_as(batch.labels)[known]
        loss = text_loss(logits.float(), batch.labels[known], task, self.first_location, schedule.sigma)
        torch.autograd.backward(loss.total + schedule.dense_weight * dense)
        self._update(schedule)
        return loss._replace(dense=dense.item())

    def _forward(self, batch: Batch, lengths: list[int]) -> tuple[Tensor, Tensor]:
        """Return the scores (N, vocabulary) of all known labels in their order, and the loss of the tower's teacher."""
        features, maps = image_features(self.model, batch.pixel_values)
        states = self.model.encode(features[batch.owner], batch.input_ids, batch.attention_mask)
        size = math.ceil(len(lengths) / CHUNKS)
        rows = [slice(first, first + size) for first in range(0, len(lengths), size)]
        logits = [self._decode(states, batch, part, max(lengths[part])) for part in rows]
        return torch.cat(logits), self.heads(maps, batch.dense)

    def _decode(self, states: Tensor, batch: Batch, rows: slice, length: int) -> Tensor:
        ids, known = batch.decoder_input_ids[rows, :length], batch.labels[rows, :length] != IGNORE_INDEX
        logits: Tensor = self.model.decode(states[rows], ids, batch.attention_mask[rows])
        return logits[known]

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
        state |= {"step": self.step}
        with whole_file(self.out / "state.pt") as partial:
            torch.save(state, partial)

    def load(self) -> None:
        """Continue from the saved state, if there is one."""
        path = self.out / "state.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location=self.settings.device, weights_only=True)
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]

    def start_from(self, checkpoint: Path) -> None:
        """Take the weights of an earlier checkpoint; entries of its vocabulary keep their rows."""
        weights = load_checkpoint(checkpoint).model.to(self.settings.device).state_dict()
        rows = _rows(Tokenizer.from_file(str(checkpoint / "tokenizer.json")), self.tokenizer)
        table = self.model.shared.weight.detach().clone()
        table[rows[:, 1]] = weights["shared.weight"][rows[:, 0]]
        weights |= {"shared.weight": table, "final_logits_bias": self.model.final_logits_bias}
        self.model.load_state_dict(weights)
        self.ema.load_state_dict(weights)

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


def _rows(before: Tokenizer, after: Tokenizer) -> Tensor:
    """Return pairs (N, 2) of the ids that the same entry has in both vocabularies."""
    old, new = before.get_vocab(), after.get_vocab()
    return torch.tensor([(old[entry], new[entry]) for entry in old if entry in new])


def run(trainer: Trainer, evaluate_every: int) -> None:
    """Train until the last step, from wherever the trainer is."""
    window = Window(trainer)
    settings = trainer.settings
    for batch in stream(settings.batch_size, trainer.step, settings.steps, settings.workers):
        window.add(trainer.train_step(batch))
        last = trainer.step == settings.steps
        if trainer.step % LOG_EVERY == 0:
            window.log()
        if trainer.step % evaluate_every == 0 or last:
            trainer.report()
        if trainer.step % SAVE_EVERY == 0 or last:
            trainer.save()


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
        pictures = len(self.losses) * self.trainer.settings.batch_size
        record: dict[str, Any] = {"step": self.trainer.step, "progress": self.trainer.progress}
        record["images_per_s"] = pictures / (time.monotonic() - self.started)
        for name in ("text", "location", "dense"):
            record[name] = sum(getattr(loss, name) for loss in self.losses) / len(self.losses)
        per_task = torch.stack([loss.per_task for loss in self.losses]).nanmean(0).tolist()
        _append(self.trainer.out / "log.jsonl", record | dict(zip(TASKS, per_task, strict=True)))
        self.losses, self.started = [], time.monotonic()


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})


def main() -> None:
    """Run the command line: --steps N [--out DIR] [--start CHECKPOINT] [--soft-locations] [--threads N] and more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, required=True, help="steps of the whole run, those before a stop included")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "training")
    parser.add_argument("--start", type=Path, help="a checkpoint whose weights a new run begins with")
    parser.add_argument("--soft-locations", action="store_true", help="train towards neighbouring bins to the end")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=8e-4, help="the highest of the schedule")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--evaluate-every", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_float32_matmul_precision("high")
    arguments.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(arguments.out, _settings(arguments))
    if arguments.start:
        trainer.start_from(arguments.start)
    trainer.load()
    print(f"{count_parameters(trainer.model):,} parameters, from step {trainer.step}", flush=True)
    run(trainer, arguments.evaluate_every)


if __name__ == "__main__":
    main()
