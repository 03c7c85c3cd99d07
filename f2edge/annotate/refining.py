"""Refine the annotations of an earlier pass: a new one takes the place of an old one only where it is more certain."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from f2edge.annotate.filters import SAME, marked, without_duplicates
from f2edge.annotate.settings import SEGMENTATION, TEXTS
from f2edge.asking.merging import overlap
from f2edge.errors import AnnotationError
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.records import Record
    from f2edge.annotate.settings import Settings

_BY_LABEL = short_name(SEGMENTATION)


class _Pair(NamedTuple):
    """An annotation of an earlier pass and one of the new pass that are about the same thing."""

    old: Record
    new: Record

    @property
    def renewed(self) -> bool:
        """Whether the new one is more certain."""
        return self.new.certainty > self.old.certainty

    def judged(self) -> tuple[Record, Record]:
        """Drop the less certain one."""
        told = f"{self.old.certainty:.3f} in pass {self.old.passed}, {self.new.certainty:.3f} in pass {self.new.passed}"
        if self.renewed:
            return self.old.dropped("replaced", told), self.new
        return self.old, self.new.dropped("less_certain", told)


def check_comparable(before: Directory, settings: Settings, calibrated: Collection[str]) -> None:
    """Refuse to compare probabilities with raw scores.

    Args:
        before: the run to refine.
        settings: the settings of the new pass.
        calibrated: the tasks whose confidences are calibrated in the bundle of the new pass, as in ``settings``.

    Raises:
        AnnotationError: one of the passes has calibrated confidences of a task and the other has not.
    """
    both = [task for task in settings.tasks if task not in TEXTS and short_name(task) in before.description.tasks]
    left = {short_name(task): task in calibrated for task in both}
    for shard in range(before.description.shards):
        if not left:
            return
        for record in before.read(shard):
            if record.kind != "picture" and left.pop(record.task, record.calibrated) != record.calibrated:
                which = ("the run to `refine`", "this bundle")[:: 1 if record.calibrated else -1]
                raise AnnotationError(
                    f"confidences of {record.task} are calibrated in {which[0]} and not in {which[1]}, so that nothing "
                    "tells which annotation is more certain: calibrate both bundles with f2edge calibrate"
                )


def refine(old: Sequence[Record], new: Sequence[Record], settings: Settings) -> list[Record]:
    """Join the records of a shard of an earlier pass with those of the new pass about the same pictures.

    Of two texts of a task, and of two regions at the same place in the answers to a task, the more certain one is kept,
    and the old one if they are equally certain.  What only one pass has found stays.  Phrases stay or go with their
    text; if both passes have the same text, they are joined as regions are.

    Args:
        old: the records of the earlier pass, picture after picture.
        new: those of the new pass, about the same pictures in the same order.
        settings: the settings of the new pass.
    """
    before = {image: list(group) for image, group in groupby(old, key=lambda record: record.image)}
    return [
        record
        for image, group in groupby(new, key=lambda record: record.image)
        for record in _refined(before.get(image, []), list(group), settings)
    ]


def _refined(old: list[Record], new: list[Record], settings: Settings) -> list[Record]:
    """Refine one picture."""
    was, now = (next((one for one in records if one.kind == "picture"), None) for records in (old, new))
    if was is None or now is None or not was.kept:
        return new
    if not now.kept:  # it can no longer be read
        return old
    judged = {id(one): other for one, other in _judged(old, new, settings)}
    joined = [judged.get(id(one), one) for one in (*old, *new) if one is not was and one is not now]
    return [now, *marked(joined, settings)]


def _judged(old: Sequence[Record], new: Sequence[Record], settings: Settings) -> Iterator[tuple[Record, Record]]:
    """Yield the kept records of both passes about which something is decided, each with what it becomes."""
    pairs: dict[str, _Pair] = {}
    for task, (one, other) in _both(old, new, "text").items():
        if one and other:
            pairs[task[0]] = _Pair(one[0], other[0])
            yield from zip(pairs[task[0]], pairs[task[0]].judged(), strict=True)
    for kind in ("region", "phrase"):
        for (_, source), (one, other) in _both(old, new, kind).items():
            pair = pairs.get(source)
            if pair is None or pair.old.text == pair.new.text:
                yield from zip((*one, *other), _joined(one, other, settings.nms), strict=True)
            else:
                yield from _with_text(pair, one, other)


def _both(
    old: Sequence[Record], new: Sequence[Record], kind: str
) -> dict[tuple[str, str], tuple[list[Record], list[Record]]]:
    """Return the kept records of a kind in each pass by task and source."""
    groups: dict[tuple[str, str], tuple[list[Record], list[Record]]] = {}
    for place, records in enumerate((old, new)):
        for one in records:
            if one.kind == kind and one.kept:
                groups.setdefault((one.task, one.source), ([], []))[place].append(one)
    return groups


def _with_text(pair: _Pair, old: Sequence[Record], new: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Drop the phrases of the text that was dropped."""
    if pair.renewed:
        yield from ((one, one.dropped("replaced", "its text was replaced")) for one in old)
    else:
        yield from ((one, one.dropped("less_certain", "its text is less certain")) for one in new)


def _joined(old: Sequence[Record], new: Sequence[Record], nms: float) -> list[Record]:
    """Join the regions of one answer of each pass; return the old ones, then the new ones."""
    decided = {id(one): one for one in (*old, *new)}
    for row, column in _places(old, new):
        pair = _Pair(old[row], new[column])
        decided.update(zip(map(id, pair), pair.judged(), strict=True))
    return without_duplicates(list(decided.values()), nms)


def _places(old: Sequence[Record], new: Sequence[Record]) -> Iterator[tuple[int, int]]:
    """Yield pairs of regions at the same place, the best first, each region in one pair."""
    table = _table(old, new)
    while table.size and table.max() >= SAME:
        row, column = map(int, np.unravel_index(table.argmax(), table.shape))
        yield row, column
        table[row, :] = table[:, column] = 0.0


def _table(old: Sequence[Record], new: Sequence[Record]) -> NDArray[np.float64]:
    """Return how far each old and each new region are the same, (old, new): the IoU of boxes; 1 for a phrase's mask.

    Phrases are the same only if their words are.
    """
    table = np.zeros((len(old), len(new)))
    boxes = np.array([one.box or (0.0,) * 4 for one in new], np.float32).reshape(-1, 4)
    for row, one in enumerate(old):
        if len(new):
            table[row] = overlap(np.array(one.box or (0.0,) * 4, np.float32), boxes)
        same = np.array([(one.label or "").casefold() == (other.label or "").casefold() for other in new], bool)
        if one.task == _BY_LABEL:
            table[row] = same
        elif one.kind == "phrase":
            table[row] *= same
    return table
