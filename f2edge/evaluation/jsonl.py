"""Read a JSONL file of one line per picture, ``{"image", "questions"}`` (docs/evaluation.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from f2edge.errors import DatasetError, TaskError
from f2edge.evaluation.files import Pictures, read_jsonl, reading
from f2edge.evaluation.measures import MEASURES
from f2edge.evaluation.samples import Question, Sample
from f2edge.tasks.table import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from f2edge.evaluation.samples import Shape

_BOX, _QUAD = 4, 8


def load_jsonl(path: Path, root: Path) -> tuple[Sample, ...]:
    """Read a JSONL of pictures and questions.

    Raises:
        DatasetError: a line is not JSON or lacks a key, a task is unknown, or a question has no true answer.
    """
    pictures, samples = Pictures(root), []
    for place, line in read_jsonl(path):
        with reading(place):
            questions = tuple(_question(place, question) for question in line["questions"])
            samples.append(Sample(line["image"], pictures.find(line["image"]), questions))
    return tuple(samples)


def _question(place: str, data: Mapping[str, Any]) -> Question:
    try:
        return parse_question(data)
    except TaskError as error:
        raise DatasetError(f"{place}: {error}") from error


def parse_question(data: Mapping[str, Any]) -> Question:
    """Read one question with its true answer; docs/evaluation.md describes the keys.

    Raises:
        KeyError, ValueError: a key is missing, or its value is of the wrong kind.
        TaskError: the task is unknown.
    """
    region = data.get("region")
    question = Question(
        resolve(data["task"]).name,
        text=None if region else data.get("text") or None,
        region=_shape(region, _BOX) if region else None,  # type: ignore[arg-type]
        answers=_answers(data),
        labels=tuple(map(str, data.get("labels") or ())),
        boxes=tuple(_shape(box, _BOX) for box in data.get("boxes") or ()),
        polygons=tuple(map(_shape, data.get("polygons") or ())),
        quads=tuple(_shape(quad, _QUAD) for quad in data.get("quads") or ()),
    )
    _check(question)
    return question


def _answers(data: Mapping[str, Any]) -> tuple[str, ...]:
    given = data.get("answers") or ([data["answer"]] if "answer" in data else [])
    if not all(isinstance(answer, str) for answer in given):
        raise ValueError("an answer is not a text")
    return tuple(given)


def _shape(values: Iterable[Any], length: int | None = None) -> Shape:
    shape = tuple(map(float, values))
    if length and len(shape) != length:
        raise ValueError(f"{list(shape)} has {len(shape)} numbers, not {length}")
    return shape


def _check(question: Question) -> None:
    """Refuse a question that cannot be marked; the caller leaves out questions of a task without a metric.

    Raises:
        ValueError: the true answer is missing.
    """
    measure = MEASURES.get(question.task)
    if measure is None:
        return
    missing = [name for name in measure.needs if not getattr(question, name)]
    if missing:
        raise ValueError(f"{question.task or 'a free question'} needs {' and '.join(missing)}")
    shapes = getattr(question, measure.labelled) if measure.labelled else question.labels
    if len(shapes) != len(question.labels):
        raise ValueError(f"{question.task} has {len(question.labels)} labels for {len(shapes)} {measure.labelled}")
