"""What one question to the model gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from f2edge.tasks.answers import confidences, microsoft_scores, to_answer
from f2edge.tasks.parsers import SPECIAL_TOKENS, find_instances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from f2edge.decoding import Generation
    from f2edge.tasks.answers import Answer
    from f2edge.tasks.parsers import Instance
    from f2edge.tasks.table import Task


@dataclass(frozen=True)
class Result:
    """The answer to one question about one image.  What an answer does not have is empty.

    One of ``boxes``, ``quads`` and ``polygons`` is filled where the task locates things; ``labels`` and
    ``confidences`` go with it, one for each thing.  All coordinates are pixels of the original image.

    Args:
        task: ``<OD>``.
        text: the decoded answer, special tokens kept.
        token_ids: the whole sequence from the decoder start token: 2, 0, ..., 2.
        token_logprobs: one per token after the start.
        score: of the whole sequence, as the search ranked it.
        answer: ``{task: answer}`` in Microsoft's schema (docs/florence2.md#answer-schema).
        labels: in the model's own words, where Microsoft's schema drops letters beyond ASCII from some.
        boxes: (x1, y1, x2, y2) each.
        quads: the four corners x, y, x, y, ... of each line of text.
        polygons: for each thing the polygons x, y, x, y, ... that it is made of.
        confidences: from 0 to 1, how sure the model is of where each thing is.
        truncated: the answer was cut off at its longest allowed length.
        timings_ms: milliseconds of each stage.
        steps: of the decoder; beam search may go on after the best answer has ended.
    """

    task: str
    text: str
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    score: float
    answer: Mapping[str, Answer]
    labels: tuple[str, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    quads: tuple[tuple[float, ...], ...] = ()
    polygons: tuple[tuple[tuple[float, ...], ...], ...] = ()
    confidences: tuple[float, ...] = ()
    truncated: bool = False
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0

    @property
    def plain_text(self) -> str:
        """The text without ``<s>``, ``</s>`` and ``<pad>``; location tokens stay."""
        return without_special_tokens(self.text).strip()

    @classmethod
    def from_generation(
        cls,
        task: Task,
        pieces: Sequence[str],
        generation: Generation,
        image_size: tuple[int, int],
        timings_ms: Mapping[str, float] | None = None,
    ) -> Result:
        """Read what the model generated.

        Args:
            task: what was asked.
            pieces: the text of each of the generation's tokens, ``Tokenizer.decode_tokens``.
            generation: the sequence that was found.
            image_size: (width, height) of the original image in pixels.
            timings_ms: milliseconds of each stage.
        """
        text = "".join(pieces)
        instances = find_instances(task, text, image_size)
        answer = to_answer(task, text, instances)
        scores = microsoft_scores(task, pieces[1:], generation.token_logprobs)
        if scores and isinstance(answer, dict):
            answer["scores"] = scores
        return cls(
            task.name,
            text,
            generation.token_ids,
            generation.token_logprobs,
            generation.score,
            {task.name: answer},
            confidences=tuple(confidences(instances, pieces, generation.token_logprobs)),
            truncated=generation.truncated,
            timings_ms=dict(timings_ms or {}),
            **_located(instances),
        )

    def to_json(self) -> dict[str, Any]:
        """The result as a dictionary that ``json.dumps`` takes."""
        return {
            "task": self.task,
            "text": self.text,
            "token_ids": list(self.token_ids),
            "token_logprobs": list(self.token_logprobs),
            "score": self.score,
            "result": dict(self.answer),
            "confidences": list(self.confidences),
            "truncated": self.truncated,
            "timings_ms": dict(self.timings_ms),
        }


def _located(instances: Sequence[Instance]) -> dict[str, Any]:
    shapes = [tuple(map(tuple, found.shapes)) for found in instances]
    kinds = [found.kind for found in instances]
    return {
        "labels": tuple(without_special_tokens(found.label).strip() for found in instances),
        "boxes": tuple(shape[0] for kind, shape in zip(kinds, shapes, strict=True) if kind == "boxes"),
        "quads": tuple(shape[0] for kind, shape in zip(kinds, shapes, strict=True) if kind == "quads"),
        "polygons": tuple(shape for kind, shape in zip(kinds, shapes, strict=True) if kind == "polygons"),
    }


def without_special_tokens(text: str) -> str:
    """Take ``<s>``, ``</s>`` and ``<pad>`` out of a text, and nothing else."""
    for tag in SPECIAL_TOKENS:
        text = text.replace(tag, "")
    return text
