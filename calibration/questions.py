"""Choose the prompts that a picture is asked during calibration: all tasks, with words as those tasks get.

When every prompt was of a task without input, referring expressions drove activations of the encoder beyond the range
that calibration had seen, and masks lost a point of IoU (docs/accuracy.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.errors import InputError
from f2edge.evaluation.asking import inside
from f2edge.tasks.location import BINS, location_text
from f2edge.tasks.table import TASKS, build_prompt, resolve

if TYPE_CHECKING:
    from f2edge.evaluation import Question, Sample

PROMPTS_PER_PICTURE = 3
"""The most prompts that one picture is asked."""


def prompts(sample: Sample, size: tuple[int, int], caption: str, index: int) -> list[str]:
    """Return the prompts for one picture: its own questions first, then one task of each kind of input, in turn.

    Args:
        sample: the picture, with its own questions if it has any.
        size: (width, height) of the picture in pixels.
        caption: the caption by the float model; tasks that need words take it.
        index: the number of the picture; the choice depends on it.
    """
    rng = np.random.default_rng(index)
    own = [prompt for question in sample.questions if (prompt := _own(question, size))]
    rng.shuffle(own)
    return [*own, *_of_each_kind(index, caption, rng)][:PROMPTS_PER_PICTURE]


def _own(question: Question, size: tuple[int, int]) -> str:
    """Return the prompt of a question, or "" if it cannot be asked, which the evaluation reports."""
    region = inside(question.region, size) if question.region else None
    try:
        return build_prompt(resolve(question.task), question.text, region, size)
    except InputError:
        return ""


def _of_each_kind(index: int, caption: str, rng: np.random.Generator) -> list[str]:
    tasks = {kind: [task for task in TASKS.values() if task.input == kind] for kind in ("none", "text", "region")}
    region = location_text(np.sort(rng.integers(0, BINS, (2, 2)), axis=0).ravel().tolist())
    inputs = {"none": None, "text": caption or "an object", "region": region}
    return [build_prompt(of[index % len(of)], inputs[kind]) for kind, of in tasks.items()]
