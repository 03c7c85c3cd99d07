"""Compare texts: edit distance, and the answer normalisation of the VQA challenge."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from f2edge.errors import MissingExtraError

try:
    from rapidfuzz.distance import Levenshtein
except ImportError as error:
    raise MissingExtraError("rapidfuzz", "eval") from error

if TYPE_CHECKING:
    from collections.abc import Sequence

_PUNCTUATION = re.compile(r"""(?<!\d)\.(?!\d)|[;/\[\]"{}()=+\\_<>@`?!:%#*~^|&]|,(?!\d)|(?<!\d),|-(?!\d)|\.$""")
_ARTICLES = {"a", "an", "the"}
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_PEOPLE = 10
_ENOUGH = 3


def plain(text: str) -> str:
    """Return the text with runs of white space as one space, and none at its ends."""
    return " ".join(text.split())


def edit_distance(a: str, b: str) -> int:
    """Return the Levenshtein distance in characters."""
    return int(Levenshtein.distance(a, b))


def normalise_answer(text: str) -> str:
    """Normalise an answer as the VQA challenge does: lower case, no punctuation, no article, numbers as digits.

    Apostrophes are dropped on both sides; the code of the challenge adds them from a table of contractions instead.
    """
    words = _PUNCTUATION.sub(" ", plain(text).lower().replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", ""))
    return " ".join(_DIGITS.get(word, word) for word in words.split() if word not in _ARTICLES)


def answer_accuracy(answer: str, truths: Sequence[str]) -> float:
    """Return the VQA accuracy of one answer (Antol et al., 2015), 0 to 1: three of ten agreeing people are enough.

    Each person is left out in turn and the agreement of the others averaged, as in the code of the challenge.  With
    fewer than ten right answers, any of them counts in full.
    """
    given = normalise_answer(answer)
    agreeing = Counter(map(normalise_answer, truths))[given]
    if len(truths) < _PEOPLE:
        return float(agreeing > 0)
    without_one_of_them = min(1.0, (agreeing - 1) / _ENOUGH)
    without_another = min(1.0, agreeing / _ENOUGH)
    return (agreeing * without_one_of_them + (len(truths) - agreeing) * without_another) / len(truths)
