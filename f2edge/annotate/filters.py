"""Decide which records of a picture are kept, and say of the others why they are dropped."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from f2edge.annotate.phrases import count_objects, count_relations, find, unwanted
from f2edge.annotate.settings import GROUNDING, OBJECTS, SEGMENTATION
from f2edge.asking.merging import overlap, suppress
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from f2edge.annotate.records import Record
    from f2edge.annotate.settings import Settings
    from f2edge.arrays import FloatArray

SAME = 0.5
"""The IoU from which two regions of different answers count as the same place."""
_OBJECTS = short_name(OBJECTS)
_GROUNDING = short_name(GROUNDING)
_BY_LABEL = (_OBJECTS, _GROUNDING, short_name(SEGMENTATION))
"""Tasks in which objects of different labels may be at the same place."""


class _Candidate(NamedTuple):
    """A located record that competes with others."""

    record: Record
    label: str
    box: Sequence[float]
    confidence: float
    cut: bool = False


def judge(records: Sequence[Record], settings: Settings) -> list[Record]:
    """Return the texts, regions and phrases of one picture, each kept or dropped, in the same order."""
    located = {id(one): other for one, other in _judged_regions(records, settings)}
    judged = [located.get(id(one), one) for one in records]
    texts = {one.task: _judged_text(one, judged, settings) for one in judged if one.kind == "text"}
    judged = [texts[one.task] if one.kind == "text" else one for one in judged]
    return marked([_of_dropped_text(one, texts) for one in judged], settings)


def _judged_regions(records: Sequence[Record], settings: Settings) -> list[tuple[Record, Record]]:
    """Return each region and phrase with what is decided about it."""
    located = sorted((one for one in records if one.kind in ("region", "phrase")), key=_answer)
    pairs: list[tuple[Record, Record]] = []
    for _, group in groupby(located, key=_answer):
        before = list(group)
        single = [_judged_alone(one, settings) for one in before]
        pairs += zip(before, without_duplicates(single, settings.nms), strict=True)
    return pairs


def _answer(record: Record) -> tuple[str, str]:
    """Return the answer that a record is of."""
    return record.task, record.source


def _judged_alone(record: Record, settings: Settings) -> Record:
    """Judge a region or phrase by itself."""
    if phrase := unwanted(record.label or "", settings.blacklist):
        return record.dropped("blacklist", phrase)
    if record.box is None or not _has_area(record.box):
        return record.dropped("empty", "its region has no area")
    if record.certainty < settings.min_confidence:
        return record.dropped("confidence", f"{record.certainty:.3f} is below {settings.min_confidence:g}")
    return record


def _has_area(box: Sequence[float]) -> bool:
    return box[2] > box[0] and box[3] > box[1]


def without_duplicates(records: Sequence[Record], nms: float) -> list[Record]:
    """Drop the kept records of one answer that overlap a more certain one; return all in the same order."""
    candidates = [
        _Candidate(one, one.label or "", one.box, one.certainty) for one in records if one.kept and one.box is not None
    ]
    by_label = bool(candidates) and candidates[0].record.task in _BY_LABEL
    left = {id(one.record) for one in suppress(candidates, nms, by_label=by_label)}
    why = f"a more certain one overlaps it by an IoU of at least {nms:g}"
    lost = {id(one.record) for one in candidates} - left
    return [one.dropped("duplicate", why) if id(one) in lost else one for one in records]


def _judged_text(record: Record, records: Iterable[Record], settings: Settings) -> Record:
    """Judge a text by its words and, where its phrases are known, by how much it tells."""
    text = record.text or ""
    if not text:
        return record.dropped("empty", "there is no text")
    if record.kept and (phrase := unwanted(text, settings.blacklist)):
        record = record.dropped("blacklist", phrase)
    if settings.parser is None and record.objects is None:  # it was not grounded
        return record
    return _judged_complexity(_counted(record, records, settings), settings)


def _counted(record: Record, records: Iterable[Record], settings: Settings) -> Record:
    """Count the phrases of a text: all that a parser finds, or those that the model has located and are kept."""
    text = record.text or ""
    if settings.parser:
        places = settings.parser.noun_phrases(text)
        phrases = [text[place.start : place.end] for place in places]
    else:
        phrases = [one.label or "" for one in records if one.kept and _answer(one) == (_GROUNDING, record.task)]
        places = tuple(find(text, phrases))
    return replace(record, objects=count_objects(phrases), relations=count_relations(text, places))


def _judged_complexity(counted: Record, settings: Settings) -> Record:
    objects, relations = counted.objects or 0, counted.relations or 0
    if not counted.kept:
        return counted
    if objects < settings.min_objects:
        return counted.dropped("objects", f"{objects} of at least {settings.min_objects}")
    if relations < settings.min_relations:
        return counted.dropped("relations", f"{relations} of at least {settings.min_relations}")
    return counted


def _of_dropped_text(record: Record, texts: dict[str, Record]) -> Record:
    text = texts.get(record.source)
    if record.kind != "phrase" or not record.kept or text is None or text.kept:
        return record
    return record.dropped("text", f"the text was dropped: {text.reason}")


def marked(records: Sequence[Record], settings: Settings) -> list[Record]:
    """Say of each phrase whether a kept object of task "od" is at its place; nothing if that was not asked."""
    if OBJECTS not in settings.tasks:
        return list(records)
    seen = [one.box for one in records if one.task == _OBJECTS and one.kept]
    objects = np.array(seen, np.float32).reshape(-1, 4)
    return [replace(one, seen=_is_seen(one, objects)) if one.kind == "phrase" else one for one in records]


def _is_seen(record: Record, objects: FloatArray) -> bool:
    if record.box is None or not len(objects):
        return False
    return bool(overlap(np.array(record.box, np.float32), objects).max() >= SAME)
