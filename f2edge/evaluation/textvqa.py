"""Read TextVQA: questions about the text in a picture, with ten answers each (Singh et al., 2019)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from f2edge.evaluation.fields import identifier, name, texts
from f2edge.evaluation.files import Pictures, numbered, reading
from f2edge.evaluation.samples import Question, Sample

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.evaluation.coco import Json
    from f2edge.evaluation.samples import Loaded

_KEYS = {"question", "image_id", "answers"}


def is_textvqa(data: Any) -> bool:
    """Tell whether a JSON value is a file of TextVQA with answers; the test split has none."""
    entries = data.get("data") if isinstance(data, dict) else None
    return isinstance(entries, list) and bool(entries) and isinstance(entries[0], dict) and set(entries[0]) >= _KEYS


def load_textvqa(path: Path, data: Json, root: Path) -> Loaded:
    """Read a file of TextVQA; each question is asked in its own words, without the name of a task.

    Raises:
        DatasetError: an entry lacks a key, or a value is of the wrong kind.
    """
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    for place, one in numbered(path, "entry", data, "data"):
        with reading(place):
            questions[_image(one)].append(_question(one))
    pictures = Pictures(root)
    return tuple(Sample(image, pictures.find(image), tuple(asked)) for image, asked in questions.items()), ()


def _image(one: Json) -> str:
    """Return the name of the picture, which is its id; as text, since an id may begin with zeros."""
    return name(one, "image_id") if isinstance(one["image_id"], str) else str(identifier(one, "image_id"))


def _question(one: Json) -> Question:
    answers = texts(one, "answers")
    if not answers:
        raise ValueError("answers is empty")
    return Question("", text=name(one, "question"), answers=answers)
