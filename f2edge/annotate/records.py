"""One annotation, or one picture, as a row of the output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["picture", "text", "region", "phrase"]
Reason: TypeAlias = Literal[
    "",
    "unreadable",
    "empty",
    "truncated",
    "blacklist",
    "confidence",
    "duplicate",
    "objects",
    "relations",
    "text",
    "replaced",
    "less_certain",
]
Shape: TypeAlias = tuple[float, ...]

REASONS: dict[Reason, str] = {
    "unreadable": "the picture cannot be read",
    "empty": "there is no text, or its region has no area",
    "truncated": "the text was cut off at the longest allowed length",
    "blacklist": "it has a phrase of the blacklist",
    "confidence": "it is less certain than the least confidence",
    "duplicate": "it overlaps a more certain one",
    "objects": "the text names too few objects",
    "relations": "the text tells too few relations between objects",
    "text": "the text that the phrase is of was dropped",
    "replaced": "a later pass is more certain",
    "less_certain": "an earlier pass is at least as certain",
}
"""Why an annotation was dropped, by the word that a record has."""


@dataclass(frozen=True)
class Record:
    """One row: a picture (each has exactly one), a text, a region, or a phrase of a text with its region.

    Args:
        image: the id of the picture, which is unique.
        width: of the picture in pixels; 0 if it cannot be read.
        height: of the picture in pixels; 0 if it cannot be read.
        kind: "picture", "text", "region" or "phrase".
        task: the short name of the task, such as "od"; "" of a picture.
        source: the task of the text that a phrase is of; "" otherwise.
        index: the number among the records of this picture, task and source, from 0.
        text: the text, or the whole text that a phrase is of.
        label: of a region: its category, description or words; or the phrase.
        box: x1, y1, x2, y2 in pixels; of a quad or mask the upright box around it.
        quad: the corners x, y, x, y, ... of a line of text.
        polygons: the polygons x, y, x, y, ... of a mask.
        confidence: 0 to 1.  Of a region or phrase the probability that it is right if ``calibrated``, else its score;
            of a text the geometric mean of the probabilities of its tokens.
        score: 0 to 1, the raw score of a region or phrase.
        calibrated: whether the bundle has a calibration of the task.
        tokens: of the text of a text, of the label of a region or phrase.
        objects: of a text: its distinct phrases that a parser finds or the model locates; None if neither was asked.
        relations: of a text: how many pairs of neighbouring phrases words other than "and" or "or" join.
        seen: of a phrase: whether an object of task "od" is where it is; None if there was no such answer.
        kept: whether the filters keep it.
        reason: why it was dropped, one of ``REASONS``; "" if it is kept.
        detail: more about the reason in words.
        bundle: the SHA-256 of the manifest of the bundle that made it.
        settings: the SHA-256 of the settings that it was made with.
        passed: the number of the pass that made it, from 1; the column is called "pass".
    """

    image: str
    width: int
    height: int
    kind: Kind
    task: str = ""
    source: str = ""
    index: int = 0
    text: str | None = None
    label: str | None = None
    box: Shape | None = None
    quad: Shape | None = None
    polygons: tuple[Shape, ...] | None = None
    confidence: float | None = None
    score: float | None = None
    calibrated: bool = False
    tokens: int = 0
    objects: int | None = None
    relations: int | None = None
    seen: bool | None = None
    kept: bool = True
    reason: Reason = ""
    detail: str = ""
    bundle: str = ""
    settings: str = ""
    passed: int = 1

    @property
    def certainty(self) -> float:
        """The confidence as a number: 0 without one."""
        return self.confidence or 0.0

    def dropped(self, reason: Reason, detail: str = "") -> Record:
        """Return the record as one that was dropped."""
        return replace(self, kept=False, reason=reason, detail=detail)
