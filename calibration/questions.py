"""What a picture is asked during calibration: prompts of all tasks, with the words that those tasks meet.

Where every prompt was of a task without input, the words of a referring expression lay outside of what the encoder's
activations had been seen to reach, and its masks lost a point of IoU (docs/demo.md).
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


def prompts(sample: Sample, size: tuple[int, int], caption: str, index: int) -> list[str]:
    """The prompts for one picture: its own questions first, and then one task of each kind of input, in turn.

    Args:
        sample: the picture, with its own questions if it has any.
        size: (width, height) of the picture in pixels.
        caption: what the float model says of it; the words for tasks that need some.
        index: number of the picture; the choice depends on it.
    """
    rng = np.random.default_rng(index)
    own = [prompt for question in sample.questions if (prompt := _own(question, size))]
    rng.shuffle(own)
    return [*own, *_of_each_kind(index, caption, rng)][:PROMPTS_PER_PICTURE]


def _own(question: Question, size: tuple[int, int]) -> str:
    """A question's prompt; empty where the question is not fit to be asked, which is for evaluation to say."""
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
