"""Compare texts: edit distance, and the accuracy of the VQA challenge."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from f2edge.errors import MissingExtraError
from f2edge.evaluation.vqa import normalise_answer

try:
    from rapidfuzz.distance import Levenshtein
except ImportError as error:
    raise MissingExtraError("rapidfuzz", "eval") from error

if TYPE_CHECKING:
    from collections.abc import Sequence

_PEOPLE = 10
_ENOUGH = 3


def plain(text: str) -> str:
    """Return the text with runs of white space as one space, and none at its ends."""
    return " ".join(text.split())


def edit_distance(a: str, b: str) -> int:
    """Return the Levenshtein distance in characters."""
    return int(Levenshtein.distance(a, b))


def answer_accuracy(answer: str, truths: Sequence[str]) -> float:
    """Return the VQA accuracy of one answer (Antol et al., 2015), 0 to 1: three of ten agreeing people are enough.

    Each person is left out in turn and the agreement of the others averaged, as in the code of the challenge.  The
    right answers are normalised like the given one; that code expects them so.  With fewer than ten right answers, any
    of them counts in full.
    """
    given = normalise_answer(answer)
    agreeing = Counter(map(normalise_answer, truths))[given]
    if len(truths) < _PEOPLE:
        return float(agreeing > 0)
    without_one_of_them = min(1.0, (agreeing - 1) / _ENOUGH)
    without_another = min(1.0, agreeing / _ENOUGH)
    return (agreeing * without_one_of_them + (len(truths) - agreeing) * without_another) / len(truths)
