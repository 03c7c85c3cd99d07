"""Read a JSONL file of one line per picture, ``{"image", "questions"}`` (docs/evaluation.md)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from f2edge.errors import DatasetError, TaskError
from f2edge.evaluation.fields import corners, entries, entry, name, shape, shapes, size, text, texts
from f2edge.evaluation.files import Pictures, read_jsonl, reading
from f2edge.evaluation.measures import MEASURES
from f2edge.evaluation.samples import Question, Sample
from f2edge.tasks.table import resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from f2edge.evaluation.samples import Loaded

_QUAD = 8


def is_questions(line: Any) -> bool:
    """Tell whether a line is a picture with questions."""
    return isinstance(line, dict) and {"image", "questions"} <= set(line)


def load_jsonl(path: Path, root: Path) -> Loaded:
    """Read a JSONL of pictures and questions.

    Raises:
        DatasetError: a line is not JSON or lacks a key, a task is unknown, or a question has no true answer.
    """
    pictures, samples = Pictures(root), []
    for place, line in read_jsonl(path):
        with reading(place):
            image = name(entry(line), "image")
            questions = tuple(_question(place, question) for question in entries(line, "questions"))
            samples.append(Sample(image, pictures.find(image), questions, size(line)))
    return tuple(samples), ()


def _question(place: str, data: Mapping[str, Any]) -> Question:
    try:
        return parse_question(data)
    except TaskError as error:
        raise DatasetError(f"{place}: {error}") from error


def parse_question(data: Mapping[str, Any]) -> Question:
    """Read one question with its true answer; docs/evaluation.md describes the keys.

    Raises:
        KeyError, TypeError, ValueError: a key is missing, or its value is of the wrong kind.
        TaskError: the task is unknown.
    """
    region = data.get("region")
    question = Question(
        resolve(data["task"]).name,
        text=None if region or not data.get("text") else text(data, "text"),
        region=corners(region) if region else None,  # type: ignore[arg-type]
        answers=texts(data, "answers") or texts(data, "answer"),
        labels=texts(data, "labels"),
        boxes=shapes(data, "boxes", corners),
        polygons=shapes(data, "polygons"),
        quads=shapes(data, "quads", partial(shape, length=_QUAD)),
    )
    check_question(question, data)
    return question


def check_question(question: Question, given: Collection[str] = ()) -> None:
    """Refuse a question that cannot be marked.

    Args:
        question: the question.
        given: the fields that the data names; an empty one of them may say that what is asked for is not there.

    Raises:
        ValueError: the true answer is missing.
    """
    measure = MEASURES[question.task]
    empty = [name for name in measure.needs if not getattr(question, name)]
    missing = [name for name in empty if name != measure.absent or name not in given]
    if missing:
        raise ValueError(f"{question.task or 'a free question'} needs {' and '.join(missing)}")
    labelled = getattr(question, measure.labelled) if measure.labelled else question.labels
    if len(labelled) != len(question.labels):
        raise ValueError(f"{question.task} has {len(question.labels)} labels for {len(labelled)} {measure.labelled}")
