"""Quick greedy scores during training, on fixed unseen scenes; demo/evaluate.py is the real measurement."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from batches import ABSENT_SHARE, DECODER_START, TASKS, collate
from model import half_precision, image_features
from questions import Question, ask
from scenes import make_scene

from f2edge.evaluation.overlap import box_iou, mask_iou
from f2edge.evaluation.texts import edit_distance
from f2edge.tasks.location import to_pixels

if TYPE_CHECKING:
    from batches import Batch
    from scenes import Scene
    from torch import Tensor

    from f2edge.compile.reference.model import ReferenceModel

CURVE_SEED = 1000
SCENES = 60
MAX_TOKENS = 64
_EOS = 2

Part: TypeAlias = "tuple[str, list[float]]"


@torch.no_grad()
def evaluate(model: ReferenceModel, tokenizer: Any) -> dict[str, float]:
    """Ask all questions about unseen scenes greedily, and score the answers."""
    scenes, questions, batch = _unseen(tokenizer)
    with half_precision():
        ids = _greedy(model, batch.to(model.shared.weight.device))
    answers = tokenizer.decode_batch(ids.tolist(), skip_special_tokens=False)
    answers = [answer.split("</s>")[1].replace("<s>", "") for answer in answers]
    scores: dict[str, list[float]] = {task: [] for task in TASKS}
    for (owner, question), answer in zip(questions, answers, strict=True):
        scores[question.task].append(_score(question, answer, scenes[owner].image.size))
    means = {task: float(np.mean(values)) for task, values in scores.items()}
    return {**means, "CER": _error_rate(questions, answers)}


@lru_cache(maxsize=1)
def _unseen(tokenizer: Any) -> tuple[list[Scene], list[tuple[int, Question]], Batch]:
    scenes = [make_scene(CURVE_SEED, k) for k in range(SCENES)]
    rngs = [np.random.default_rng([CURVE_SEED, k, 1]) for k in range(SCENES)]
    questions = [(k, q) for k, scene in enumerate(scenes) for q in ask(scene, rngs[k], ABSENT_SHARE)]
    return scenes, questions, collate(scenes, questions, tokenizer)


def _greedy(model: ReferenceModel, batch: Batch) -> Tensor:
    features, _ = image_features(model, batch.pixel_values)
    states = model.encode(features[batch.owner], batch.input_ids, batch.attention_mask)
    cross = model.decoder.cross_key_values(states)
    mask = model.additive_mask(batch.attention_mask)
    ids = states.new_tensor([[DECODER_START, 0]], dtype=torch.long).repeat(len(states), 1)
    past = None
    for length in range(2, MAX_TOKENS):
        new = ids if past is None else ids[:, -1:]
        positions = torch.arange(length - new.shape[1], length, device=ids.device)
        causal = None if past else states.new_full((2, 2), -1e9).triu(1)
        hidden, past = model.decoder(model.shared(new), positions, past, cross, causal, mask)
        ids = torch.cat([ids, model.head(hidden[:, -1:]).argmax(-1)], 1)
        if bool((ids[:, 2:] == _EOS).any(1).all()):
            break
    return torch.nn.functional.pad(ids, (0, 1), value=_EOS)


def _score(question: Question, answer: str, size: tuple[int, int]) -> float:
    """Return a score from 0 to 1: exact text, boxes at IoU 0.5 in their order, or the IoU of the mask."""
    wanted, given = _parts(question.answer, size), _parts(answer, size)
    if question.task in _BOXED:
        return _hits(_split(wanted), _split(given))
    if question.task in _MASKED and question.polygons:
        return mask_iou([question.polygons[0]], [given[0][1]] if given else [], size)
    if question.task == "OCR_WITH_REGION":
        return float([a[0] for a in wanted] == [a[0] for a in given])
    return float(answer == question.answer)


_BOXED = (
    "OD", "CAPTION_TO_PHRASE_GROUNDING", "DENSE_REGION_CAPTION", "REGION_PROPOSAL", "OPEN_VOCABULARY_DETECTION",
)  # fmt: skip
_MASKED = ("REFERRING_EXPRESSION_SEGMENTATION", "REGION_TO_SEGMENTATION")


def _hits(wanted: list[Part], given: list[Part]) -> float:
    """Return the share of boxes that have the right label and an IoU of at least 0.5, in their order."""
    if not wanted or not given:
        return float(wanted == given)
    hits = [a[0] == b[0] and box_iou(a[1], b[1]) >= 0.5 for a, b in zip(wanted, given, strict=False)]
    return sum(hits) / max(len(wanted), len(given))


def _split(parts: list[Part]) -> list[Part]:
    """Return one part for each box, when a label has several."""
    return [(label, values[k : k + 4]) for label, values in parts for k in range(0, max(len(values) - 3, 1), 4)]


def _parts(answer: str, size: tuple[int, int]) -> list[Part]:
    """Split an answer into labels, each with the coordinates that follow it."""
    parts: list[Part] = []
    for piece in answer.replace("<loc_", "\0<").replace(">", "\0").split("\0"):
        if piece.startswith("<") and piece[1:].isdigit():
            if not parts:
                parts.append(("", []))
            parts[-1][1].append(float(piece[1:]))
        elif piece:
            parts.append((piece, []))
    return [(label, to_pixels([int(b) for b in bins], size)) for label, bins in parts]


def _error_rate(questions: list[tuple[int, Question]], answers: list[str]) -> float:
    pairs = [(q.answer, a) for (_, q), a in zip(questions, answers, strict=True) if q.task in ("OCR", "REGION_TO_OCR")]
    return sum(edit_distance(q, a) for q, a in pairs) / sum(len(q) for q, _ in pairs)
