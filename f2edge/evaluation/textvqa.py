"""Read TextVQA: questions about the text in a picture, with ten answers each (Singh et al., 2019)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from f2edge.evaluation.files import Pictures, reading
from f2edge.evaluation.samples import Question, Sample

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.evaluation.coco import Json


def is_textvqa(data: Any) -> bool:
    """Tell whether a JSON value is a file of TextVQA with answers; the test split has none."""
    entries = data.get("data") if isinstance(data, dict) else None
    return isinstance(entries, list) and bool(entries) and {"question", "image_id", "answers"} <= set(entries[0])


def load_textvqa(path: Path, data: Json, root: Path) -> tuple[Sample, ...]:
    """Read a file of TextVQA; each question is asked in its own words, without the name of a task.

    Raises:
        DatasetError: an entry lacks a key.
    """
    questions: defaultdict[str, list[Question]] = defaultdict(list)
    with reading(path):
        for entry in data["data"]:
            question = Question("", text=entry["question"], answers=tuple(entry["answers"]))
            questions[entry["image_id"]].append(question)
    pictures = Pictures(root)
    return tuple(Sample(name, pictures.find(name), tuple(asked)) for name, asked in questions.items())
