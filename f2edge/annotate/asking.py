"""Ask about one picture: it is encoded once, and the questions are asked in batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from f2edge.annotate.filters import judge, marked
from f2edge.annotate.records import Record
from f2edge.annotate.settings import GROUNDING, REGIONS, SEGMENTATION, TEXTS
from f2edge.arrays import hull
from f2edge.asking.questions import Ask
from f2edge.errors import ImageError, InputError
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from f2edge.annotate.pictures import Picture
    from f2edge.annotate.records import Shape
    from f2edge.annotate.settings import Settings
    from f2edge.asking.encoded import EncodedImage
    from f2edge.model import Florence2
    from f2edge.result import Result

_FEWEST_NUMBERS = 6  # of a polygon with an area: three points
_SPECIAL = 2  # tokens around every text: its begin and its end


@dataclass(frozen=True)
class Annotator:
    """Annotates pictures; any thread may call it.

    Args:
        model: the model that is asked.
        settings: what is asked, and what is kept.
        bundle: the SHA-256 of the manifest of its bundle.
        passed: the number of the pass.
    """

    model: Florence2
    settings: Settings
    bundle: str
    passed: int = 1

    def __call__(self, picture: Picture) -> list[Record]:
        """Return the record of the picture itself, then all others, kept or dropped.

        A picture that cannot be read has a record with the reason.

        Raises:
            DeviceError: the engine failed.
        """
        made = {"bundle": self.bundle, "settings": self.settings.sha256(), "passed": self.passed}
        try:
            image = self.model.encode(picture.open())
        except ImageError as error:
            lost = Record(picture.id, 0, 0, "picture").dropped("unreadable", str(error))
            return [replace(lost, **made)]  # type: ignore[arg-type]
        blank = Record(picture.id, *image.size, "picture")
        records = _Asking(image, self, blank).records()
        return [replace(record, **made) for record in (blank, *records)]  # type: ignore[arg-type]

    def tokens(self, text: str) -> int:
        """Count the tokens of a text, without those around it."""
        return len(self.model.tokenizer.encode(text)) - _SPECIAL


@dataclass(frozen=True)
class _Asking:
    """The questions about one encoded picture."""

    image: EncodedImage
    annotator: Annotator
    blank: Record

    def records(self) -> list[Record]:
        settings = self.annotator.settings
        first = [self._ask(task) for task in settings.tasks if task in (*TEXTS, *REGIONS)]
        answers = self._answers(first)
        texts = [self._text(result) for result in answers if result.task in TEXTS]
        regions = [one for result in answers if result.task in REGIONS for one in self._located(result)]
        texts, phrases = self._grounded(texts) if GROUNDING in settings.tasks else (texts, [])
        records = judge([*texts, *regions, *phrases], settings)
        return marked([*records, *self._masks(records)], settings) if SEGMENTATION in settings.tasks else records

    def _ask(self, task: str, text: str | None = None) -> Ask:
        settings = self.annotator.settings
        return Ask(None, task, text, num_beams=settings.num_beams, max_new_tokens=settings.max_new_tokens)

    def _answers(self, asks: Sequence[Ask]) -> list[Result]:
        return list(self.image.run_many(asks))

    def _text(self, result: Result) -> Record:
        text, certainty = result.plain_text, float(np.exp(np.mean(result.token_logprobs or (-np.inf,))))
        task, tokens = short_name(result.task), self.annotator.tokens(result.plain_text)
        record = replace(self.blank, kind="text", task=task, text=text, confidence=min(certainty, 1.0), tokens=tokens)
        return record.dropped("truncated", f"after {len(result.token_ids) - 1} tokens") if result.truncated else record

    def _grounded(self, texts: Sequence[Record]) -> tuple[list[Record], list[Record]]:
        """Locate the phrases of texts; return the texts, those that were asked about with a count, and the phrases."""
        asks = [self._ask(GROUNDING, text.text) for text in texts]
        asked = [self._is_possible(ask) for ask in asks]
        results = iter(self._answers([ask for ask, possible in zip(asks, asked, strict=True) if possible]))
        phrases: list[Record] = []
        for text, possible in zip(texts, asked, strict=True):
            if possible:
                phrases += self._located(next(results), text)
        counted = [replace(text, objects=0) if possible else text for text, possible in zip(texts, asked, strict=True)]
        return counted, phrases

    def _is_possible(self, ask: Ask) -> bool:
        """Tell whether a text can be a question: it may be empty, or longer than a prompt of the bundle."""
        try:
            self.image.asked(ask.question)
        except InputError:
            return False
        return True

    def _masks(self, records: Sequence[Record]) -> list[Record]:
        """Outline each kept phrase once; a mask belongs to the first text that has its phrase."""
        first: dict[str, Record] = {}
        for one in records:
            if one.kind == "phrase" and one.kept and one.label:
                first.setdefault(one.label, one)
        asks = [self._ask(SEGMENTATION, phrase) for phrase in first]
        possible = [(ask, one) for ask, one in zip(asks, first.values(), strict=True) if self._is_possible(ask)]
        results = self._answers([ask for ask, _ in possible])
        masks: list[Record] = []
        for result, (_, phrase) in zip(results, possible, strict=True):
            masks += [replace(mask, label=phrase.label, tokens=phrase.tokens) for mask in self._located(result, phrase)]
        return judge(_numbered(masks), self.annotator.settings)

    def _located(self, result: Result, of: Record | None = None) -> list[Record]:
        """Return the objects of an answer: regions, or the phrases of a text."""
        rows = zip(result.labels, _shapes(result), result.confidences, result.scores, strict=True)
        found = []
        for index, (label, (box, quad, polygons), confidence, score) in enumerate(rows):
            one = replace(self.blank, kind="region", task=short_name(result.task), index=index, label=label)
            one = replace(one, box=box, quad=quad, polygons=polygons, confidence=confidence, score=score)
            one = replace(one, calibrated=result.calibrated, tokens=self.annotator.tokens(label) if label else 0)
            found.append(one if of is None else replace(one, kind="phrase", source=of.source or of.task, text=of.text))
        return found


def _numbered(records: Sequence[Record]) -> list[Record]:
    """Number the records of each text from 0."""
    counts: dict[str, int] = {}
    numbered = []
    for one in records:
        counts[one.source] = counts.get(one.source, -1) + 1
        numbered.append(replace(one, index=counts[one.source]))
    return numbered


def _shapes(result: Result) -> Iterator[tuple[Shape | None, Shape | None, tuple[Shape, ...] | None]]:
    """Yield the box, the quad and the polygons of each object; a mask without a polygon of three points has no box."""
    yield from ((box, None, None) for box in result.boxes)
    yield from ((hull(quad), quad, None) for quad in result.quads)
    for mask in result.polygons:
        polygons = tuple(polygon for polygon in mask if len(polygon) >= _FEWEST_NUMBERS)
        yield hull(*polygons) if polygons else None, None, polygons
