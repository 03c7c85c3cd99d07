"""The result of one question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.arrays import Boxes, Quads
from f2edge.drawing.display import summary, to_html
from f2edge.handover import to_coco, to_supervision
from f2edge.tasks.answer_types import Answers
from f2edge.tasks.answers import microsoft_scores, to_answer
from f2edge.tasks.confidence import Judge
from f2edge.tasks.parsers import SPECIAL_TOKENS, find_instances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervision import Detections

    from f2edge.decoding import Generation
    from f2edge.drawing.display import Thumbnail
    from f2edge.tasks.confidence import Features
    from f2edge.tasks.parsers import Instance
    from f2edge.tasks.table import Task


@dataclass(frozen=True, repr=False)
class Result:
    """The answer to one question about one image.  A part that the answer does not have is empty.

    If the task locates objects, one of ``boxes``, ``quads`` and ``polygons`` holds them, and ``labels`` and
    ``confidences`` have one entry for each object.  All coordinates are pixels of the original image.

    Args:
        task: the name of the task, such as ``<OD>``.
        text: the decoded answer with its special tokens.
        token_ids: the whole sequence from the decoder start token: 2, 0, ..., 2.
        token_logprobs: the log-probability of each token after the start token.
        score: the score of the whole sequence, by which the search ranked it.
        answer: ``{task: answer}`` in the schema of Microsoft (docs/florence2.md#answer-schema).
        labels: the label of each object; the schema of Microsoft drops letters beyond ASCII from some, this does not.
        boxes: the boxes, (x1, y1, x2, y2) each; ``np.asarray(result.boxes)`` is (n, 4), also for n = 0.
        quads: the four corners x, y, x, y, ... of each line of text; as an array (n, 8).
        polygons: the polygons x, y, x, y, ... of each object.
        confidences: how far to trust each object, 0 to 1: the probability that it is right, if ``calibrated``; else
            its score.
        truncated: whether the answer was cut off at its longest allowed length.
        timings_ms: the time of each stage in milliseconds.
        steps: the decoder steps; beam search may go on after the best answer has ended.
        thumbnail: a small copy of the picture, at most 640 pixels a side, for showing the result in a notebook.  Only
            results that a notebook's kernel makes have one; see :attr:`f2edge.Florence2.thumbnails`.  It does not count
            when results are compared, and is not part of the JSON.
        image_size: (width, height) of the original picture in pixels, for masks that are handed over; not part of the
            JSON.  None in a result that was made without it.
        scores: the raw score of each object, 0 to 1, which ranks the objects of one task (docs/confidence.md).
        calibrated: whether the bundle has a calibration of the task, so that of objects with a confidence of 0.9 nine
            in ten are right: their label is right, and they overlap a true object by an IoU of at least 0.5.
        features: what the scores are made of, for ``f2edge calibrate``; not part of the JSON.
    """

    task: str
    text: str
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    score: float
    answer: Answers
    labels: tuple[str, ...] = ()
    boxes: Boxes = field(default_factory=Boxes)
    quads: Quads = field(default_factory=Quads)
    polygons: tuple[tuple[tuple[float, ...], ...], ...] = ()
    confidences: tuple[float, ...] = ()
    truncated: bool = False
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    thumbnail: Thumbnail | None = field(default=None, compare=False)
    image_size: tuple[int, int] | None = None
    scores: tuple[float, ...] = ()
    calibrated: bool = False
    features: tuple[Features, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Let NumPy read the boxes and quads as arrays of a known width, whoever makes the result."""
        object.__setattr__(self, "boxes", Boxes(self.boxes))
        object.__setattr__(self, "quads", Quads(self.quads))

    def __repr__(self) -> str:
        """One short line: the task, and the text or what was located."""
        return f"{type(self).__name__}({self.task!r}, {summary(self)})"

    def _repr_html_(self) -> str:
        """The picture with the answer drawn on it, and a table; notebooks call this."""
        return to_html(self)

    @property
    def plain_text(self) -> str:
        """The text without ``<s>``, ``</s>`` and ``<pad>``; location tokens stay."""
        return without_special_tokens(self.text).strip()

    @classmethod
    def from_generation(
        cls,
        task: Task,
        pieces: Sequence[str],
        lone_pieces: Sequence[str],
        generation: Generation,
        image_size: tuple[int, int],
        judge: Judge = Judge(),  # noqa: B008 - frozen
    ) -> Result:
        """Read what the model generated.

        Args:
            task: what was asked.
            pieces: the text of each of the generation's tokens, ``Tokenizer.decode_tokens``.
            lone_pieces: the text of each token decoded by itself, ``Tokenizer.decode_each``.
            generation: the sequence that the search chose.
            image_size: (width, height) of the original image in pixels.
            judge: tells how far to trust the objects.
        """
        text = "".join(pieces)
        instances = find_instances(task, text, image_size)
        scores = microsoft_scores(task, lone_pieces[1:], generation.token_logprobs)
        return cls(
            task.name,
            text,
            generation.token_ids,
            generation.token_logprobs,
            generation.score,
            Answers({task.name: to_answer(task, text, instances, scores)}),
            truncated=generation.truncated,
            image_size=image_size,
            **_located(instances),
            **judge.judge(task.name, instances, pieces, generation)._asdict(),
        )

    def to_supervision(self, categories: Mapping[str, int] | None = None) -> Detections:
        """Return the objects as ``supervision.Detections``, for its trackers, zones, annotators and data sets.

        Boxes are float32 and the smallest upright box around a quad or mask; the quads themselves are oriented boxes,
        ``data["xyxyxyxy"]``.  Masks are bool, (n, height, width).  ``data["class_name"]`` has the labels.

        Args:
            categories: the ``class_id`` of each label, or of ``"text"`` for lines of text.  By default the labels of
                this result are numbered from 0 in their order, so equal numbers of two results may mean different
                labels.

        Raises:
            TaskError: the answer is a text, such as a caption.
            InputError: a label that is not in ``categories``; masks without an ``image_size``.
            MissingExtraError: supervision is not installed.
        """
        return to_supervision(self, categories)

    def to_coco(self, image_id: int | str, categories: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """Return the objects as entries of a COCO results file, which ``COCO.loadRes`` reads.

        An entry has ``image_id``, ``category_id``, ``category_name``, ``bbox`` (x, y, width, height), ``score``, and
        for masks and quads ``segmentation``, a list of polygons.  As in COCO-Text, the category of a line of text is
        ``"text"``, and ``utf8_string`` has its words.

        Args:
            image_id: the number of the picture in the data set.
            categories: the ``category_id`` of each label; without them entries have only ``category_name``.

        Raises:
            TaskError: the answer is a text, such as a caption.
            InputError: a label that is not in ``categories``.
        """
        return to_coco(self, image_id, categories)

    def to_json(self) -> dict[str, Any]:
        """Return the result as a dictionary that ``json.dumps`` takes.

        A float32 is written with the fewest digits that give the same float32 again (3.78, not 3.7799999713897705),
        and times with three decimals.
        """
        value = {
            "task": self.task,
            "text": self.text,
            "token_ids": self.token_ids,
            "token_logprobs": self.token_logprobs,
            "score": self.score,
            "result": dict(self.answer),
            "labels": self.labels,
            "boxes": self.boxes,
            "quads": self.quads,
            "polygons": self.polygons,
            "confidences": self.confidences,
            "scores": self.scores,
            "calibrated": self.calibrated,
            "truncated": self.truncated,
            "steps": self.steps,
        }
        return {**plain(value), "timings_ms": {name: round(time, 3) for name, time in self.timings_ms.items()}}


def plain(value: Any) -> Any:
    """Return a value with lists in place of tuples, and with short floats."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return _short(value) if isinstance(value, float) else value


def _short(number: float) -> float:
    """Return the number with the fewest digits for the same float32, if it is one; else the number itself."""
    single = np.float32(number)
    return float(str(single)) if float(single) == number else number


def _located(instances: Sequence[Instance]) -> dict[str, Any]:
    shapes = [tuple(map(tuple, instance.shapes)) for instance in instances]
    kinds = [instance.kind for instance in instances]
    return {
        "labels": tuple(without_special_tokens(instance.label).strip() for instance in instances),
        "boxes": tuple(shape[0] for kind, shape in zip(kinds, shapes, strict=True) if kind == "boxes"),
        "quads": tuple(shape[0] for kind, shape in zip(kinds, shapes, strict=True) if kind == "quads"),
        "polygons": tuple(shape for kind, shape in zip(kinds, shapes, strict=True) if kind == "polygons"),
    }


def without_special_tokens(text: str) -> str:
    """Take ``<s>``, ``</s>`` and ``<pad>`` out of a text, and nothing else."""
    for tag in SPECIAL_TOKENS:
        text = text.replace(tag, "")
    return text
