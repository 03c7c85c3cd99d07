"""CIDEr-D, the consensus of a caption with its references (Vedantam et al., 2015).

For given words the scores equal those of coco-caption; ``words`` splits captions as it does.
"""

from __future__ import annotations

from collections import Counter
from math import exp, log, sqrt
from typing import TYPE_CHECKING, TypeAlias

from f2edge.evaluation.words import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Ngram: TypeAlias = tuple[str, ...]

_LONGEST = 4
_SIGMA = 6.0
_SCALE = 10.0


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return the CIDEr-D of each caption; their mean is the metric, and papers write 1.0 as 100.

    The rarity of words is taken from the references alone, so that the score of one caption does not depend on the
    others.  With a single picture every word is in every reference, and all scores are 0.

    Args:
        candidates: one caption per picture.
        references: the right captions of each picture.
    """
    cooked = [[_ngrams(words(text)) for text in texts] for texts in references]
    frequency = Counter(ngram for counts in cooked for ngram in set().union(*counts))
    rarity = {ngram: log(len(cooked)) - log(count) for ngram, count in frequency.items()}
    unseen = log(len(cooked)) if cooked else 0.0
    scores = []
    for text, counts in zip(candidates, cooked, strict=True):
        vector = _Vector(_ngrams(words(text)), rarity, unseen)
        scores.append(_mean(vector.similarity(_Vector(one, rarity, unseen)) for one in counts) * _SCALE)
    return scores


class _Vector:
    """The weights of the n-grams of a caption, by their length."""

    def __init__(self, counts: Counter[Ngram], rarity: Mapping[Ngram, float], unseen: float) -> None:
        self.weights: list[dict[Ngram, float]] = [{} for _ in range(_LONGEST)]
        for ngram, count in counts.items():
            self.weights[len(ngram) - 1][ngram] = count * rarity.get(ngram, unseen)
        self.norms = [sqrt(sum(weight**2 for weight in weights.values())) for weights in self.weights]
        self.length = sum(count for ngram, count in counts.items() if len(ngram) == 2)  # noqa: PLR2004 - as coco-caption

    def similarity(self, reference: _Vector) -> float:
        """Return the mean clipped cosine over the lengths of n-grams, with a penalty for a different caption length."""
        penalty = exp(-((self.length - reference.length) ** 2) / (2 * _SIGMA**2))
        return _mean(self._cosine(reference, n) for n in range(_LONGEST)) * penalty

    def _cosine(self, reference: _Vector, n: int) -> float:
        theirs, norms = reference.weights[n], self.norms[n] * reference.norms[n]
        common = ((weight, theirs[ngram]) for ngram, weight in self.weights[n].items() if ngram in theirs)
        return sum(min(mine, other) * other for mine, other in common) / norms if norms else 0.0


def _ngrams(tokens: Sequence[str]) -> Counter[Ngram]:
    return Counter(
        tuple(tokens[start : start + n]) for n in range(1, _LONGEST + 1) for start in range(len(tokens) - n + 1)
    )


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0
