"""Objects of an answer one by one, while the answer is decoded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from f2edge.result import without_special_tokens
from f2edge.tasks.confidence import Judge
from f2edge.tasks.parsers import find_instances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.decoding import Generation
    from f2edge.tasks.parsers import Instance
    from f2edge.tasks.table import Task
    from f2edge.tokenizer import Tokenizer

_LOCATIONS = 4
"""Location tokens of a box; a quad has twice as many, and a mask any number."""


@dataclass(frozen=True)
class Detection:
    """One located object.  One of ``box``, ``quad`` and ``polygons`` is set; all coordinates are pixels of the image.

    Args:
        label: its label; empty if the task gives none.
        confidence: as ``confidences`` of :class:`f2edge.Result`.
        box: x1, y1, x2, y2.
        quad: the four corners x, y, x, y, ... of a line of text.
        polygons: the polygons x, y, x, y, ... of a mask.
        score: as ``scores`` of :class:`f2edge.Result`.
        calibrated: as of :class:`f2edge.Result`.
    """

    label: str
    confidence: float
    box: tuple[float, ...] | None = None
    quad: tuple[float, ...] | None = None
    polygons: tuple[tuple[float, ...], ...] | None = None
    score: float = field(default=0.0, kw_only=True)
    calibrated: bool = field(default=False, kw_only=True)


@dataclass
class ObjectReader:
    """Reads the objects of an answer that gets longer and longer, each of them once.

    Args:
        task: what was asked.
        tokenizer: the tokenizer of the model.
        image_size: (width, height) of the original image in pixels.
        judge: tells how far to trust the objects.
    """

    task: Task
    tokenizer: Tokenizer
    image_size: tuple[int, int]
    judge: Judge = field(default_factory=Judge)
    _read: int = 0

    def read(self, decided: Generation, *, whole: bool) -> Iterator[Detection]:
        """Yield the objects that are complete and were not yet read.

        Args:
            decided: the beginning of the answer.
            whole: whether it is the whole answer.
        """
        if not whole and not self._may_end_an_object(decided.token_ids):
            return
        pieces = self.tokenizer.decode_tokens(decided.token_ids)
        instances = find_instances(self.task, "".join(pieces), self.image_size)
        if not whole and instances and instances[-1].kind == "polygons":
            del instances[-1]  # more points may follow
        new = instances[self._read :]
        self._read = max(self._read, len(instances))
        judged = self.judge.judge(self.task.name, new, pieces, decided)
        for instance, score, confidence in zip(new, judged.scores, judged.confidences, strict=True):
            yield replace(_detection(instance, confidence), score=score, calibrated=judged.calibrated)

    def _may_end_an_object(self, token_ids: tuple[int, ...]) -> bool:
        """Tell whether as many location tokens as boxes have stand at the end; reading the text takes longer."""
        count = 0
        while count < len(token_ids) and self.tokenizer.is_location(token_ids[-1 - count]):
            count += 1
        return count > 0 and count % _LOCATIONS == 0


def _detection(instance: Instance, confidence: float) -> Detection:
    label = without_special_tokens(instance.label).strip()
    shapes = tuple(map(tuple, instance.shapes))
    if instance.kind == "polygons":
        return Detection(label, confidence, polygons=shapes)
    if instance.kind == "quads":
        return Detection(label, confidence, quad=shapes[0])
    return Detection(label, confidence, box=shapes[0])
