"""The grammar of one question, if its answer is to be structured (docs/embed.md#structured-answers)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.errors import InputError, TaskError
from f2edge.lines import shown
from f2edge.tasks.grammar import Grammar
from f2edge.tasks.labels import trie
from f2edge.tasks.location import location_text
from f2edge.tasks.parsers import find_instances
from f2edge.tasks.shapes import FORMS

if TYPE_CHECKING:
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.tasks.table import Task
    from f2edge.tasks.vocabulary import Vocabulary

_ANY_SIZE = (1000, 1000)


def check_structured(task: Task, structured: bool) -> None:
    """Refuse structure where an answer has none.

    Raises:
        TaskError: the answers of the task are plain text, or ``structured`` is not a truth value.
    """
    if not isinstance(structured, bool):
        raise TaskError(f"`structured` is {shown(structured)}; it must be True or False")
    if structured and task.parser not in FORMS:
        raise TaskError(f"{task.name or 'a free prompt'} is answered in plain text: leave `structured` out")


def make_grammar(
    task: Task, labels: tuple[str, ...] | None, vocabulary: Vocabulary, settings: GenerationSettings
) -> Grammar:
    """Return the automaton of a question.

    Args:
        task: what is asked; it passed :func:`check_structured`.
        labels: the labels that may come, from :func:`~f2edge.tasks.labels.wanted_labels`; None for any.
        vocabulary: the tokens.
        settings: the settings of the search.

    Raises:
        InputError: the settings have no end token, or one that is text, a location or a tag, or they force another
            first token than ``<s>``.
        TaskError: no answer of the task can have one of the labels.
    """
    if not settings.end_token_ids or _have_meaning(settings.end_token_ids, vocabulary):
        raise InputError(
            f"eos_token_id is {settings.eos_token_id}; a structured answer needs a token that does nothing but end it"
        )
    if settings.forced_bos_token_id not in (None, vocabulary.begin):
        raise InputError(
            f"forced_bos_token_id is {settings.forced_bos_token_id}; a structured answer begins with"
            f" {vocabulary.begin} or with what the model chooses"
        )
    grammar = Grammar(task, vocabulary, settings.end_token_ids)
    if labels is None:
        return grammar
    return Grammar(task, vocabulary, settings.end_token_ids, trie(_tokens(grammar, label) for label in labels))


def _have_meaning(tokens: tuple[int, ...], vocabulary: Vocabulary) -> bool:
    return any(token in vocabulary.bins or token in vocabulary.tags or vocabulary.texts[token] for token in tokens)


def _tokens(grammar: Grammar, label: str) -> list[int]:
    """Return the tokens of a label as answers have them: no space stands between a location token and a label."""
    tokens = grammar.vocabulary.tokenizer.encode(label)[1:-1]
    answer = label + location_text([0] * grammar.form.shape.size)
    read = [one.label for one in find_instances(grammar.task, answer, _ANY_SIZE)]
    if read != [label] or not grammar.words[np.array(tokens)].all():
        raise TaskError(f"`labels` has {shown(label)}, which no answer of {grammar.task.name} can have; leave it out")
    return tokens
