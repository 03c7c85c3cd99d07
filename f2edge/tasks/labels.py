"""The labels that a question allows: what a caller may name, and a trie of their tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from f2edge.errors import TaskError
from f2edge.lines import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.tasks.table import Task

Labels: TypeAlias = "Iterable[str]"
"""Labels as users hand them in."""

_SEPARATOR = "<and>"
"""Florence-2's token between several things that are looked for."""


@dataclass
class Node:
    """What has come of a label, and what may follow.

    Args:
        children: the next tokens.
        final: whether a label ends here.
    """

    children: dict[int, Node] = field(default_factory=dict)
    final: bool = False


def trie(labels: Iterable[Sequence[int]]) -> Node:
    """Return the root of a trie of labels, each of one or more tokens."""
    root = Node()
    for tokens in labels:
        node = root
        for token in tokens:
            node = node.children.setdefault(token, Node())
        node.final = True
    return root


def wanted_labels(task: Task, labels: Labels | None) -> tuple[str, ...] | None:
    """Return labels without blanks around them and without repeats; None stands for any label.

    Raises:
        TaskError: the task gives no labels, or these are not a list of texts.
    """
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise TaskError(f"`labels` is {shown(labels)}; give a list of labels")
    if not task.locates or not task.labelled:
        raise TaskError(f"{task.name or 'a free prompt'} gives no labels: leave `labels` out")
    return tuple(dict.fromkeys(map(_label, labels))) or _refuse_none()


def _label(label: object) -> str:
    if not isinstance(label, str) or not label.strip():
        raise TaskError(f"`labels` has {shown(label)}; give texts that are not blank")
    return label.strip()


def _refuse_none() -> tuple[str, ...]:
    raise TaskError("`labels` is empty; name at least one label, or leave it out")


def text_of(task: Task, text: str | None, labels: tuple[str, ...] | None) -> str | None:
    """Return the text input of a task: what the user gave, or else the wanted labels where a text is needed."""
    if text is None and labels and task.input == "text":
        return _SEPARATOR.join(labels)
    return text
