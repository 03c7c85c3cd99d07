"""What is done to a question before an engine answers it: the one place where its prompt is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from f2edge.asking.questions import Asked
from f2edge.tasks.labels import text_of, wanted_labels
from f2edge.tasks.structured import check_structured, make_grammar
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from f2edge.arrays import IntArray
    from f2edge.asking.questions import Question
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.tasks.table import Task
    from f2edge.tasks.vocabulary import Vocabulary


class Model(Protocol):
    """What a question needs of its model, a :class:`f2edge.Florence2`, to be prepared."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Its tokens by what they may be in a structured answer."""
        ...

    def settings(
        self,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        settings: GenerationSettings | None = None,
    ) -> GenerationSettings:
        """Return the settings of a search: those of the bundle, except the given ones."""
        ...

    def prompt_ids(self, prompt: str) -> IntArray:
        """Return the token ids (n,) int64 of a prompt, its begin and end tokens included."""
        ...


class Checked(NamedTuple):
    """What of a question is known to be right without its picture."""

    task: Task
    labels: tuple[str, ...] | None
    settings: GenerationSettings


def check(model: Model, question: Question) -> Checked:
    """Check all of a question but its prompt.

    Raises:
        InputError: the task, its labels, or a limit is wrong.
    """
    settings = model.settings(question.num_beams, question.max_new_tokens, question.settings)
    task = resolve(question.task)
    check_structured(task, question.structured)
    return Checked(task, wanted_labels(task, question.labels), settings)


def prepare(model: Model, question: Question, image_size: tuple[int, int] | None = None) -> Asked:
    """Prepare a question for the engine.

    Args:
        model: the model that is asked.
        question: what is asked.
        image_size: (width, height) of the original image in pixels; a question about a region needs it.

    Raises:
        InputError: the task, its text, labels or region, or a limit is wrong.
    """
    task, labels, settings = check(model, question)
    prompt = build_prompt(task, text_of(task, question.text, labels), question.region, image_size)
    prompt_ids, structure = model.prompt_ids(prompt), None
    if question.structured or labels:
        structure = make_grammar(task, labels, model.vocabulary, settings)
    return Asked(task, prompt_ids, settings, structure)
