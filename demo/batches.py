"""Scenes as training batches, drawn on the fly; batch k is always the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from dense import DenseTarget, dense_target, stack
from make_tokenizer import make_tokenizer
from model import IMAGE_SIZE, geometry
from questions import Question, ask
from scenes import make_scene
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from f2edge.image import pixel_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scenes import Scene

TRAINING_SEED = 1
QUESTIONS_PER_IMAGE = 8
SPOILT_SHARE = 0.3
ABSENT_SHARE = 0.2
TASKS = (
    "CAPTION", "OD", "CAPTION_TO_PHRASE_GROUNDING", "REFERRING_EXPRESSION_SEGMENTATION", "REGION_TO_CATEGORY",
    "OCR", "OCR_WITH_REGION", "DETAILED_CAPTION", "MORE_DETAILED_CAPTION", "DENSE_REGION_CAPTION",
    "REGION_PROPOSAL", "OPEN_VOCABULARY_DETECTION", "REGION_TO_DESCRIPTION", "REGION_TO_SEGMENTATION", "REGION_TO_OCR",
)  # fmt: skip
_WEIGHTS = np.array([1.0, 1.0, 1.0, 1.0, 0.4, 0.7, 1.0, 0.9, 0.9, 1.0, 0.8, 1.0, 0.6, 0.7, 0.6])
_WITHOUT_WORD = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.25, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2])
IGNORE_INDEX = -100
PAD = 1
DECODER_START = 2


class Batch(NamedTuple):
    """B pictures and Q questions on them.

    pixel_values (B, 3, H, W) float32; owner (Q,) the picture of each question; task (Q,) its index in TASKS;
    input_ids and attention_mask (Q, L); labels (Q, T) with -100 for padding; decoder_input_ids (Q, T).
    In training the questions are sorted by the length of their answers, so that chunks of them need little padding.
    """

    pixel_values: Tensor
    owner: Tensor
    task: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    decoder_input_ids: Tensor
    labels: Tensor
    dense: DenseTarget

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device."""
        dense = DenseTarget(*(tensor.to(device) for tensor in self.dense))
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self[:-1]), dense=dense)


class SceneBatches(Dataset[Batch]):
    """The batches of training: batch k holds scenes k * size to (k + 1) * size - 1 of the training seed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.tokenizer = make_tokenizer()

    def __getitem__(self, step: int) -> Batch:
        scenes, questions = [], []
        for index in range(step * self.size, (step + 1) * self.size):
            scenes.append(make_scene(TRAINING_SEED, index, SPOILT_SHARE))
            rng = np.random.default_rng([TRAINING_SEED, index, 2])
            questions += [(len(scenes) - 1, q) for q in choose(scenes[-1], rng)]
        questions.sort(key=lambda pair: len(self.tokenizer.encode(pair[1].answer)))
        return collate(scenes, questions, self.tokenizer)


def choose(scene: Scene, rng: np.random.Generator) -> list[Question]:
    """Choose some of the questions about a scene; questions about words only rarely if it has no word."""
    weights = _WEIGHTS if scene.word else _WEIGHTS * _WITHOUT_WORD
    chosen = rng.choice(len(TASKS), QUESTIONS_PER_IMAGE, replace=False, p=weights / weights.sum())
    questions = ask(scene, rng, ABSENT_SHARE)
    return [questions[k] for k in chosen]


def collate(scenes: list[Scene], questions: list[tuple[int, Question]], tokenizer: Any) -> Batch:
    """Turn scenes, and pairs of (scene number, question), into tensors."""
    prompts = [tokenizer.encode(q.prompt).ids for _, q in questions]
    answers = [tokenizer.encode(q.answer).ids for _, q in questions]
    return Batch(
        pixel_values=torch.cat([picture(scene) for scene in scenes]),
        owner=torch.tensor([k for k, _ in questions]),
        task=torch.tensor([TASKS.index(q.task) for _, q in questions]),
        input_ids=_pad(prompts, PAD),
        attention_mask=_pad([[1] * len(ids) for ids in prompts], 0),
        decoder_input_ids=_pad([[DECODER_START, *ids[:-1]] for ids in answers], PAD),
        labels=_pad(answers, IGNORE_INDEX),
        dense=stack([dense_target(scene) for scene in scenes]),
    )


def picture(scene: Scene) -> Tensor:
    """Return a scene as the model gets it, (1, 3, H, W), with the product's own resizing and normalisation."""
    sizes = geometry(vocab_size=0)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return torch.from_numpy(pixel_values(scene.image, size, sizes.image_mean, sizes.image_std))


def _pad(rows: list[list[int]], value: int) -> Tensor:
    length = max(map(len, rows))
    return torch.tensor([row + [value] * (length - len(row)) for row in rows])


def _yield_to_training(_: int) -> None:
    """Lower the priority of the drawing process, because training needs the time more."""
    os.nice(4)


def stream(size: int, first: int, end: int, workers: int = 1) -> Iterator[Batch]:
    """Yield batches `first` to `end` - 1, drawn by processes in the background."""
    loader = DataLoader(
        SceneBatches(size),
        batch_size=None,
        sampler=range(first, end),
        num_workers=workers,
        prefetch_factor=4,
        worker_init_fn=_yield_to_training,
    )
    return iter(loader)
