"""A plain check of structured answers: a regular expression over the kinds of their tokens, and sets of objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from f2edge.tasks.location import to_pixels

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from f2edge.result import Result
    from f2edge.tasks.table import Task
    from f2edge.tokenizer import Tokenizer

_KINDS = {"<s>": "s", "</s>": "e", "<poly>": "<", "</poly>": ">", "<sep>": "|"}
_MASK = r"(?:ll){3,}(?:\|(?:ll){3,})*"
_ANSWERS = {
    ("boxes", True): r"(?:t+(?:llll)+)*",
    ("boxes", False): r"(?:llll)*",
    ("grounding", True): r"(?:t+(?:llll)+)*",
    ("ocr", True): r"(?:t+l{8})*",
    ("polygons", False): rf"(?:{_MASK})?|(?:<{_MASK}>)*",
    ("boxes_or_polygons", True): rf"(?:t+(?:llll)+)*|(?:t+(?:<{_MASK}>)+)*",
}
_SIZES = {"boxes": 4, "grounding": 4, "boxes_or_polygons": 4, "ocr": 8}


class Found(NamedTuple):
    """One shape of an answer: its label, and the bins of its coordinates (of each polygon)."""

    label: str
    bins: tuple[tuple[int, ...], ...]


def kinds(token_ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return a letter for each token: t for text, l for a location, and those of the tags; ? for what is nothing."""
    return "".join(map(_kind, tokenizer.decode_each(token_ids)))


def _kind(text: str) -> str:
    if re.fullmatch(r"<loc_\d+>", text):
        return "l"
    return _KINDS.get(text, "t" if text and not re.fullmatch(r"</?\w+>", text) else "?")


def check_answer(
    task: Task, token_ids: Sequence[int], tokenizer: Tokenizer, labels: Collection[str] = ()
) -> list[Found]:
    """Check a whole answer, and return its shapes.

    Args:
        task: what was asked.
        token_ids: the answer from the decoder start token to its end token.
        tokenizer: the tokenizer.
        labels: the labels that may come; any if there are none.
    """
    assert token_ids[-1] == 2, "no end token"
    body = list(token_ids[1:-1])
    if body[:1] == [0]:
        del body[0]
    assert re.fullmatch(_ANSWERS[task.parser, task.labelled], kinds(body, tokenizer)), tokenizer.decode(token_ids)
    found = list(_shapes(task, body, tokenizer))
    for label, shapes in found:
        assert not task.labelled or label
        assert not labels or label in labels
        assert _SIZES.get(task.parser) != 4 or "<poly>" in tokenizer.decode(body) or _ordered(*shapes[0])
    boxes = [one for one in found if task.parser != "polygons"]
    assert len(set(boxes)) == len(boxes) or "<poly>" in tokenizer.decode(body)
    return found


def _ordered(x1: int, y1: int, x2: int, y2: int) -> bool:
    return x1 <= x2 and y1 <= y2


def _shapes(task: Task, body: list[int], tokenizer: Tokenizer) -> list[Found]:
    """Take the shapes apart, token by token."""
    letters = kinds(body, tokenizer)
    bins = {tokenizer.location_id(number): number for number in range(1000)}
    found = []
    for entry in re.finditer(r"(t*)([^t]+)", letters):
        label = tokenizer.decode(body[slice(*entry.span(1))]).strip()
        size = _SIZES.get(task.parser)
        instances = (
            re.finditer(r"<([^>]*)>", entry[2])
            if "<" in entry[2]
            else re.finditer(f"(l{{{size}}})" if size else "(.+)", entry[2])
        )
        for instance in instances:
            start = entry.start(2) + instance.start(1)
            runs = [
                tuple(bins[token] for token in body[start + run.start() : start + run.end()])
                for run in re.finditer("l+", instance[1])
            ]
            found.append(Found(label, tuple(runs)))
    return found


def check_result(result: Result, task: Task, found: Sequence[Found], size: tuple[int, int]) -> None:
    """Check that the parsers read the same shapes, in pixels."""
    pixels = [tuple(tuple(to_pixels(bins, size)) for bins in one.bins) for one in found]
    assert list(result.labels) == [one.label if task.labelled else "" for one in found], result.text
    read = result.polygons or tuple((shape,) for shape in result.boxes or result.quads)
    assert list(read) == pixels
