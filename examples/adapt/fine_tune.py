"""Fine-tune a checkpoint with LoRA: transformers' own class, peft, and pictures with questions and answers.

Usage: ``python examples/adapt/fine_tune.py CHECKPOINT FOLDER... -o ADAPTER [--steps 600]``

Each FOLDER has pictures, and a ``.jsonl`` file with one line for each: ``{"image": NAME, "questions": [{"prompt",
"answer"}, ...]}``, as ``demo/scenes.py`` writes it, or ``{"image", "prefix", "suffix"}``.  The prompt is what the model
reads, the answer what it should write, locations as ``<loc_0>`` to ``<loc_999>``.  A prefix may be the name of a task
with its input behind it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import peft
import torch
from native import load_native
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from f2edge.image import pixel_values
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from f2edge.geometry import Geometry

LAYERS = ["qkv", "proj", "q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
"""All linear layers of the tower, the encoder and the decoder; the embedding stays as it is."""
WARMUP_STEPS = 30
LOG_EVERY = 50
PAD, IGNORED = 1, -100
PARTS = 4


class Asked(NamedTuple):
    """A picture, and pairs of a prompt about it and the right answer."""

    picture: Path
    pairs: list[tuple[str, str]]


class Batch(NamedTuple):
    """B pictures and Q questions about them.

    pixel_values (B, 3, H, W); owner (Q,) the picture of each question; input_ids and attention_mask (Q, L) of the
    prompts; labels (Q, T) of the answers, with -100 for padding.
    """

    pixel_values: Tensor
    owner: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor


def read_folder(folder: Path) -> list[Asked]:
    """Return the pictures of a folder with all questions about them, in the order of its files."""
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]
    asked: dict[Path, list[tuple[str, str]]] = {}
    for line in map(json.loads, lines):
        asked.setdefault(folder / line["image"], []).extend(_pairs(line))
    return [Asked(*item) for item in asked.items()]


def _pairs(line: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "questions" in line:
        yield from ((question["prompt"], question["answer"]) for question in line["questions"])
    else:
        task, text = re.fullmatch(r"(<\w+>)?(.*)", line["prefix"], re.DOTALL).groups()  # type: ignore[union-attr]
        yield (build_prompt(resolve(task), text or None) if task else text), line["suffix"]


class Examples(Dataset[Asked]):
    """Pictures as often as a training looks at them, each time with some of its questions; all drawn at random."""

    def __init__(self, asked: Sequence[Asked], questions: int, length: int) -> None:
        self.asked, self.questions, self.length = asked, questions, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Asked:
        rng = random.Random(index)  # noqa: S311 - nothing to guess here
        picture, pairs = rng.choice(self.asked)
        return Asked(picture, rng.sample(pairs, min(self.questions, len(pairs))))


class Collate:
    """Turns pictures and questions into tensors, as the compiled bundle will see them.

    Args:
        checkpoint: a directory with ``tokenizer.json``.
        sizes: those of the model.
    """

    def __init__(self, checkpoint: Path, sizes: Geometry) -> None:
        self.tokenizer, self.sizes = Tokenizer.from_file(str(checkpoint / "tokenizer.json")), sizes

    def __call__(self, rows: Sequence[Asked]) -> Batch:
        """Return a batch; short prompts and answers are padded at the end."""
        pairs = [(owner, *pair) for owner, row in enumerate(rows) for pair in row.pairs]
        ids = _padded([self.tokenizer.encode(prompt).ids for _, prompt, _ in pairs], PAD)
        return Batch(
            pixel_values=torch.cat([self._pixels(row.picture) for row in rows]),
            owner=torch.tensor([owner for owner, _, _ in pairs]),
            input_ids=ids,
            attention_mask=(ids != PAD).long(),
            labels=_padded([self.tokenizer.encode(answer).ids for _, _, answer in pairs], IGNORED),
        )

    def _pixels(self, path: Path) -> Tensor:
        sizes = self.sizes
        with Image.open(path) as picture:
            pixels = pixel_values(picture.convert("RGB"), sizes.image_size, sizes.image_mean, sizes.image_std)
        return torch.from_numpy(pixels)


def _padded(rows: list[list[int]], value: int) -> Tensor:
    length = max(map(len, rows))
    return torch.tensor([row + [value] * (length - len(row)) for row in rows])


def loss_of(model: Any, batch: Batch) -> Tensor:
    """Return the mean loss of the tokens of all answers; each picture goes through the tower once.

    The questions go through the language model in parts of similar length, which need little padding.
    """
    features = model.get_image_features(batch.pixel_values).pooler_output
    lengths = (batch.labels != IGNORED).sum(1)
    parts = [_sum_of_losses(model, features, batch, rows) for rows in lengths.argsort().chunk(PARTS)]
    return torch.stack(parts).sum() / lengths.sum()


def _sum_of_losses(model: Any, features: Tensor, batch: Batch, rows: Tensor) -> Tensor:
    pictures, mask, labels = features[batch.owner[rows]], batch.attention_mask[rows], batch.labels[rows]
    mask, labels = mask[:, : mask.sum(1).max()], labels[:, : (labels != IGNORED).sum(1).max()].contiguous()
    embedded = torch.cat([pictures, model.get_input_embeddings()(batch.input_ids[rows, : mask.shape[1]])], 1)
    mask = torch.cat([mask.new_ones(pictures.shape[:2]), mask], 1)
    loss: Tensor = model(inputs_embeds=embedded, attention_mask=mask, labels=labels).loss
    return loss * (labels != IGNORED).sum()


def adapt(model: Any, rank: int) -> Any:
    """Return peft's model: all weights are frozen, and each linear layer has two new matrices of a low rank."""
    return peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=LAYERS))


def train(model: Any, batches: Sequence[Batch] | DataLoader[Asked], learning_rate: float) -> list[float]:
    """Take one step of AdamW for each batch, with a linear warm-up and a cosine; return the losses.

    Batches go to the device of the model.
    """
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], weight_decay=0.0)
    started, losses = time.monotonic(), list[float]()
    for step, batch in enumerate(batches):
        share = min(1.0, (step + 1) / WARMUP_STEPS) * (1 + math.cos(math.pi * step / len(batches))) / 2
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * share
        loss = loss_of(model, Batch(*(tensor.to(model.device) for tensor in batch)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if (step + 1) % LOG_EVERY == 0:
            recent = sum(losses[-LOG_EVERY:]) / LOG_EVERY
            print(f"step {step + 1}: loss {recent:.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return losses


def main() -> None:
    """Run the command line: CHECKPOINT FOLDER... -o ADAPTER [--steps N] [--rank N] and more."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="a directory in Microsoft's or transformers' layout")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="pictures and a .jsonl file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="ADAPTER", help="where the adapter goes")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8, help="pictures of a step")
    parser.add_argument("--questions", type=int, default=5, help="questions about each of them")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="the highest of the schedule")
    parser.add_argument("--device", default="cpu", help="where torch computes: cpu, cuda, ...")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model, sizes = load_native(arguments.checkpoint)
    asked = [one for folder in arguments.folders for one in read_folder(folder)]
    examples = Examples(asked, arguments.questions, arguments.steps * arguments.batch)
    batches = DataLoader(examples, arguments.batch, collate_fn=Collate(arguments.checkpoint, sizes))
    adapted = adapt(model.to(arguments.device), arguments.rank).train()
    count = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    print(f"{len(asked)} pictures, {count:,} weights to train", flush=True)
    train(adapted, batches, arguments.learning_rate)
    adapted.save_pretrained(arguments.output)


if __name__ == "__main__":
    main()
