"""What the answer of a task that locates objects may hold, token by token (docs/embed.md#structured-answers).

A grammar is an automaton.  Its states never change and belong to one sequence, so beams may share them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from f2edge.tasks.location import BINS
from f2edge.tasks.shapes import FORMS, PAIR, POLYGON
from f2edge.tasks.vocabulary import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from f2edge.tasks.labels import Node
    from f2edge.tasks.shapes import Form, Shape
    from f2edge.tasks.table import Task
    from f2edge.tasks.vocabulary import Vocabulary

_SPLIT_CHARACTER = "\ufffd"
_LONGEST_CHARACTER = 4
_NONE = frozenset[int]()
_SPELLED_TAG = re.compile(r"<loc_\d+>|</?s>|<pad>")

Begun: TypeAlias = "tuple[str | int, ...]"
"""A label and the first bins of a shape that it has."""

Place: TypeAlias = Literal["start", "between", "label", "shape", "ended"]


@dataclass(frozen=True)
class Grammar:
    """The automaton of one question.

    Args:
        task: what is asked; its parser has a form.
        vocabulary: the tokens.
        ends: the tokens that end an answer, at least one.
        labels: the root of the labels that may come; None if any may.
    """

    task: Task
    vocabulary: Vocabulary
    ends: tuple[int, ...]
    labels: Node | None = None

    @cached_property
    def form(self) -> Form:
        """The shapes of its answers."""
        return FORMS[self.task.parser]

    @property
    def words(self) -> NDArray[np.bool_]:
        """The tokens of labels, (vocabulary,); only in lines of text may they have a ``<``."""
        words: NDArray[np.bool_] = self.vocabulary.texts if self.task.parser == "ocr" else self.vocabulary.words
        return words

    @cached_property
    def first_words(self) -> NDArray[np.bool_]:
        """The same while a label is blank: a line break may stand before it."""
        words: NDArray[np.bool_] = self.words.copy()
        words[self.vocabulary.breaks] = True
        return words

    @property
    def start(self) -> State:
        """The state before the first token after the decoder start token."""
        return State(self)


class State(NamedTuple):
    """Where one sequence is in its answer.

    Args:
        grammar: the automaton.
        place: between two objects, within a label, within a shape, or at either end of the answer.
        label: the text of the label so far, or of the last one.
        pending: the last tokens of the label, if they end within a character.
        node: the place in the trie of labels.
        bins: the shape so far; none outside a shape.
        tagged: whether shapes have tags; None before the first one.
        taken: the bins that may not follow a label and bins, since the answer has all these shapes already.
    """

    grammar: Grammar
    place: Place = "start"
    label: str = ""
    pending: tuple[int, ...] = ()
    node: Node | None = None
    bins: tuple[int, ...] = ()
    tagged: bool | None = None
    taken: Mapping[Begun, frozenset[int]] = MappingProxyType({})

    @property
    def whole(self) -> bool:
        """Whether the answer may end here: after a whole object, or with none."""
        return self.place in ("start", "between") or (not self.tagged and self._polygon_may_end)

    def permitted(self, room: int) -> Tokens | None:
        """Return the tokens that may come next.

        Args:
            room: how many tokens may still come before the end token.

        Returns:
            None if there is no room for any token but the end.
        """
        if self.place == "ended":
            return None
        if self.place == "shape" and not self._shape.open:  # most steps: nothing but a bin may come
            return self._bins(room)
        texts, lowest = self._texts(room), self._lowest(room)
        others = self._label_tokens(room) + self._tags(room)
        if texts is None and lowest == BINS and not others:
            return None
        if self.place == "start":
            others += (self.grammar.vocabulary.begin,)
        if self.whole:
            others += self.grammar.ends
        return Tokens(self.grammar.vocabulary, texts, lowest, self._barred() if lowest < BINS else _NONE, others)

    def after(self, token_id: int) -> State:
        """Return the state after one more token; one that was not permitted gives any state."""
        words = self.grammar.vocabulary
        if token_id in words.bins:
            return self._after_bin(words.bins[token_id])
        if token_id in self.grammar.ends:
            return self._replace(place="ended", bins=())
        if token_id in (words.open_mask, words.separator):
            return self._replace(place="shape", bins=(), tagged=token_id == words.open_mask or self.tagged)
        if token_id == words.close_mask or (self.place == "start" and token_id == words.begin):
            return self._replace(place="between", bins=())
        return self._after_text(token_id)

    def _bins(self, room: int) -> Tokens | None:
        """Return the tokens that may come next in a shape of a fixed size."""
        lowest = self._lowest(room)
        return None if lowest == BINS else Tokens(self.grammar.vocabulary, None, lowest, self._barred(), ())

    def _lowest(self, room: int) -> int:
        """Return the least bin that may come next; ``BINS`` if none may."""
        return self._shape.lowest(self.bins) if self._missing_after_bin < room else BINS

    def _barred(self) -> frozenset[int]:
        """Return the bins with which the shape would come again."""
        return self.taken.get((self.label.strip(), *self.bins), _NONE) if self.taken else _NONE

    @property
    def _shape(self) -> Shape:
        return POLYGON if self.tagged else self.grammar.form.shape

    @property
    def _polygon_may_end(self) -> bool:
        count = len(self.bins)
        return self.place == "shape" and self._shape.open and count >= self._shape.size and count % PAIR == 0

    @property
    def _shape_may_begin(self) -> bool:
        if self.place != "label":
            return not self.grammar.task.labelled or (self.grammar.form.repeats and self.label != "")
        if self.node is not None:
            return self.node.final
        return not self.pending and not self._label_is_blank

    @property
    def _label_is_blank(self) -> bool:
        return not self.label or self.label.isspace()

    @property
    def _missing_after_bin(self) -> float:
        """The tokens that a shape still needs after one more bin; infinite where no bin may come."""
        if self.place != "shape":
            return self._least - 1 if not self.tagged and self._shape_may_begin else np.inf
        count = len(self.bins) + 1
        missing = max(self._shape.size - count, count % PAIR if self._shape.open else 0)
        return missing + bool(self.tagged)

    @property
    def _least(self) -> int:
        """The tokens that an object needs at least, or what is missing of it after its label.

        Another shape of a label needs as much as an object of another label, so that no lack of room favours it.
        """
        shape = POLYGON.size + PAIR if self.tagged else self.grammar.form.shape.size
        return shape + (self.grammar.task.labelled and self.place != "label")

    def _texts(self, room: int) -> NDArray[np.bool_] | None:
        """Return the text that may come if labels are free; an object is not begun without room for it.

        A label may still turn out longer than there is room for; the answer then ends, and its object is left out.
        """
        if self.place == "shape" or self.grammar.labels is not None or not self.grammar.task.labelled:
            return None
        if room < self._least:
            return None
        if self.place != "label" or (self._label_is_blank and not self.pending):
            return self.grammar.first_words
        return self.grammar.words if "<" not in self.label else self._words_without_tags()

    def _words_without_tags(self) -> NDArray[np.bool_]:
        """Leave out the text with which a label would spell a tag, which a parser would take for one."""
        words: NDArray[np.bool_] = self.grammar.words.copy()
        closing = self.grammar.vocabulary.closing
        words[[token for token, text in closing if _SPELLED_TAG.search(self.label + text)]] = False
        return words

    def _label_tokens(self, room: int) -> tuple[int, ...]:
        """Return the tokens of wanted labels that may come."""
        if self.grammar.labels is None or self.place == "shape" or room < self._least:
            return ()
        node = self.node if self.place == "label" and self.node else self.grammar.labels
        return tuple(node.children)

    def _tags(self, room: int) -> tuple[int, ...]:
        """Return the tags that may come."""
        words = self.grammar.vocabulary
        if self.place == "shape":
            if not self._polygon_may_end:
                return ()
            if not self.tagged:
                return (words.separator,) if room > 0 else ()
            separator = (words.separator,) if POLYGON.size + 1 < room else ()
            return separator + ((words.close_mask,) if room > 0 else ())
        begins = self.grammar.form.tags and self.tagged is not False and self._shape_may_begin
        return (words.open_mask,) if begins and room >= self._least else ()

    def _after_bin(self, number: int) -> State:
        bins = (*self.bins, number)
        if self._shape.open or len(bins) < self._shape.size:
            return self._replace(place="shape", bins=bins, tagged=bool(self.tagged))
        taken = _with(self.taken, self.label.strip(), bins, self._shape)
        return self._replace(place="between", bins=(), tagged=False, taken=taken)

    def _after_text(self, token_id: int) -> State:
        goes_on = self.place == "label"
        pending = (*(self.pending if goes_on else ()), token_id)
        label = self.label if goes_on else ""
        text = self.grammar.vocabulary.tokenizer.decode(pending)
        if text.endswith(_SPLIT_CHARACTER) and len(pending) < _LONGEST_CHARACTER:
            text = ""
        else:
            pending = ()
        node = self.node if goes_on else self.grammar.labels
        node = node and node.children.get(token_id)
        return self._replace(place="label", label=label + text, pending=pending, node=node, bins=())


def _with(
    taken: Mapping[Begun, frozenset[int]], label: str, bins: tuple[int, ...], shape: Shape
) -> dict[Begun, frozenset[int]]:
    """Add a shape to those that may not come again, and beginnings of shapes that have all come already."""
    added = dict(taken)
    for end in range(len(bins) - 1, -1, -1):
        begun: Begun = (label, *bins[:end])
        added[begun] = added.get(begun, _NONE) | {bins[end]}
        if len(added[begun]) < BINS - shape.lowest(bins[:end]):
            break
    return added
