"""Parse the text of an answer into located objects, as the code of Microsoft does (docs/florence2.md#post-processing).

The patterns work on text, not on tokens, so that damaged answers give what the patterns of Microsoft give.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from f2edge.tasks.location import to_pixels
from f2edge.tasks.tagged_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from f2edge.tasks.table import Task
    from f2edge.tasks.tagged_text import CleanText

Kind: TypeAlias = Literal["boxes", "quads", "polygons"]

SPECIAL_TOKENS = ("<s>", "</s>", "<pad>")

_LOCATION = r"<loc_(\d+)>"
_POLYGON_PART = r"(?:<loc_\d+>|<sep>|<poly>|</poly>)"
_LABEL_END = r"<od>|</od>|<box>|</box>|<bbox>|</bbox>|<loc_"

BOX = re.compile(_LOCATION * 4)
LABELLED_BOXES = re.compile(r"[^<]+(?:<loc_\d+>){4,}")
BOX_LABEL = re.compile(rf"^\s*(.*?)(?={_LABEL_END})")
_BARE_BOXES = re.compile(r"(?:<loc_\d+>){4,}")
_LABELLED_POLYGONS = re.compile(rf"[^<]+{_POLYGON_PART}{{4,}}")
_BARE_POLYGONS = re.compile(rf"{_POLYGON_PART}{{4,}}")
_POLYGON_LABEL = re.compile(rf"^\s*(.*?)(?={_LABEL_END}|<poly>)")
_POLYGON_INSTANCE = re.compile(r"<poly>(.*?)</poly>")
_POLYGON = re.compile(r"((?:<loc_\d+>)+)(?:<sep>|$)")
_OCR_LINE = re.compile(rf"(.+?){_LOCATION * 8}")
_BROKEN_LOCATION = re.compile(r"^loc_\d+>")
_LOCATION_TOKEN = re.compile(_LOCATION)

# Tokens have three digits; an answer may spell a number of any length in ordinary letters.
_MOST_DIGITS = 9

_BANNED = (
    "it,I,me,mine,you,your,yours,he,him,his,she,her,hers,they,them,their,theirs,one,oneself,we,us,our,ours,its,"
    "myself,yourself,himself,herself,itself,ourselves,yourselves,themselves,this,that,these,those,who,whom,whose,"
    "which,what,all,another,any,anybody,anyone,anything,each,everybody,everyone,everything,few,many,nobody,none,"
    "several,some,somebody,someone,something,each other,one another,the image,image,images,the,a,an,a group,"
    "other objects,lots,a set"
)
_BANNED_PHRASES = frozenset(_BANNED.split(","))


@dataclass(frozen=True)
class Instance:
    """One object that the model located.

    Args:
        kind: the kind of its shapes.
        label: its label in the words of the model; empty if the task gives no labels.
        shapes: lists of x, y, x, y, ... in pixels: one box, one quad, or all polygons of one object.
        offsets: an offset into the text of the answer inside each of its location tokens.
    """

    kind: Kind
    label: str
    shapes: tuple[list[float], ...]
    offsets: tuple[int, ...]


def find_boxes(text: str, image_size: tuple[int, int], *, labelled: bool = True) -> Iterator[Instance]:
    """Find boxes: a label, if there are any, and groups of four locations (docs/florence2.md#boxes)."""
    cleaned = clean(text, *SPECIAL_TOKENS)
    for phrase in (LABELLED_BOXES if labelled else _BARE_BOXES).finditer(cleaned.text):
        label = BOX_LABEL.search(phrase.group())
        if label is None:
            continue
        for box in BOX.finditer(cleaned.text, *phrase.span()):
            yield _instance("boxes", label.group().strip(), cleaned, [box.span()], image_size)


def find_grounded_boxes(text: str, image_size: tuple[int, int]) -> Iterator[Instance]:
    """Find boxes whose label is not a pronoun or the like (docs/florence2.md#grounded-phrases)."""
    return (box for box in find_boxes(text, image_size) if box.label not in _BANNED_PHRASES)


def find_quads(text: str, image_size: tuple[int, int]) -> Iterator[Instance]:
    """Find lines of text with four corners each (docs/florence2.md#lines-of-text); labels keep blanks and tags."""
    cleaned = clean(text, "<s>")
    for line in _OCR_LINE.finditer(cleaned.text):
        yield _instance("quads", line.group(1), cleaned, [(line.end(1), line.end())], image_size)


def find_polygons(text: str, image_size: tuple[int, int], *, labelled: bool = True) -> Iterator[Instance]:
    """Find masks: a label, if there are any, and polygons of any length (docs/florence2.md#polygons)."""
    cleaned = clean(text, *SPECIAL_TOKENS)
    for phrase in (_LABELLED_POLYGONS if labelled else _BARE_POLYGONS).finditer(cleaned.text):
        label = _POLYGON_LABEL.search(_BROKEN_LOCATION.sub("", phrase.group()))
        if label is None:
            continue
        for start, end in _instance_spans(phrase):
            polygons = _POLYGON.finditer(cleaned.text[start:end])
            spans = [(start + polygon.start(1), start + polygon.end(1)) for polygon in polygons]
            if spans:
                yield _instance("polygons", label.group().strip(), cleaned, spans, image_size)


def find_instances(task: Task, text: str, image_size: tuple[int, int]) -> list[Instance]:
    """Find all objects in an answer.

    Args:
        task: the task that was asked.
        text: the decoded answer, special tokens kept.
        image_size: (width, height) of the original image.
    """
    if task.parser == "pure_text":
        return []
    if task.parser == "ocr":
        return list(find_quads(text, image_size))
    if task.parser == "grounding":
        return list(find_grounded_boxes(text, image_size))
    polygons = task.parser == "polygons" or (task.parser == "boxes_or_polygons" and "<poly>" in text)
    find = find_polygons if polygons else find_boxes
    return list(find(text, image_size, labelled=task.labelled))


def _instance_spans(phrase: re.Match[str]) -> list[tuple[int, int]]:
    if "<poly>" not in phrase.group() or "</poly>" not in phrase.group():
        return [phrase.span()]
    return [
        (phrase.start() + one.start(1), phrase.start() + one.end(1))
        for one in _POLYGON_INSTANCE.finditer(phrase.group())
    ]


def _instance(
    kind: Kind, label: str, cleaned: CleanText, spans: Sequence[tuple[int, int]], image_size: tuple[int, int]
) -> Instance:
    """Read the location tokens of each span as one shape; a last x without its y gives no point."""
    shapes, offsets = [], []
    for span in spans:
        tokens = list(_LOCATION_TOKEN.finditer(cleaned.text, *span))
        bins = [int(token.group(1)[:_MOST_DIGITS]) for token in tokens]
        shapes.append(to_pixels(bins[: len(bins) // 2 * 2], image_size))
        offsets += [cleaned.offsets[token.start(1)] for token in tokens]
    return Instance(kind, label, tuple(shapes), tuple(offsets))
