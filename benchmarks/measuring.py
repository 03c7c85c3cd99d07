"""What every contender does in its own process, and what it hands back: samples by the name of a measure."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from workload import AROUND, BEAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from artefacts import Cache
    from workload import Workload

    from f2edge.arrays import ByteArray, FloatArray
    from f2edge.geometry import Geometry

Samples: TypeAlias = dict[str, list[float]]
"""Milliseconds, unless the measure's name ends in another unit."""

WARM_UP_S = 3.0
"""Before each turn.  A system that reclaims the pages of processes that wait, as many clouds' do, makes whoever is
fastest look slow otherwise: its first answers, with the pages to be fetched, are a larger part of what is measured."""
MEASURE_S = 2.0
"""Of one measure in a turn: once, or as often as fits."""
PHOTOGRAPH = "china.jpg"
CASES = ("caption", "od")


def step_name(num_beams: int, position: int) -> str:
    """The name of a measure: one decoder step."""
    return f"step_{num_beams}_{position}"


class Contender(ABC):
    """One way to run something, opened and ready."""

    @abstractmethod
    def warm_up(self) -> None:
        """Do once what is measured, so that engines prepare what they keep."""

    @abstractmethod
    def measure(self) -> Samples:
        """One round."""


class WholeModel(Contender):
    """From a decoded picture to text."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    @abstractmethod
    def answer(self, case: str, tokens: int) -> str:
        """The text of an answer of exactly ``tokens`` tokens, with 3 beams."""

    @abstractmethod
    def stages(self) -> dict[str, float]:
        """Milliseconds of "vision" (tower and projector) and "encoder" (all between that and the first step)."""

    @abstractmethod
    def steps(self, num_beams: int) -> dict[int, list[float]]:
        """Milliseconds of single decoder steps, the search's work included, around each position."""

    def warm_up(self) -> None:
        """Captions."""
        repeated(lambda: self.answer("caption", self.workload.caption_tokens), WARM_UP_S)

    def measure(self) -> Samples:
        """Both answers, then each stage."""
        samples = {case: timings(partial(self._ask, case)) for case in CASES}
        stages = repeated(self.stages, MEASURE_S)
        samples |= {stage: [taken[stage] for taken in stages] for stage in stages[0]}
        for num_beams in BEAMS:
            around = self.steps(num_beams)
            samples |= {step_name(num_beams, position): taken for position, taken in around.items()}
        return samples

    def _ask(self, case: str) -> None:
        assert isinstance(self.answer(case, self.workload.tokens(case)), str)


def timed(function: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1e3


def timings(function: Callable[[], object]) -> list[float]:
    """Milliseconds of each call, of as many as :data:`MEASURE_S` allows."""
    return repeated(lambda: timed(function), MEASURE_S)


_T = TypeVar("_T")


def repeated(function: Callable[[], _T], seconds: float) -> list[_T]:
    """What a function gives, called once and then until so many seconds have passed."""
    started, results = time.perf_counter(), [function()]
    while time.perf_counter() - started < seconds:
        results.append(function())
    return results


def around(done: Sequence[float], first: int, position: int) -> list[float]:
    """Milliseconds of the steps around ``position``; ``done[i]`` is when the one at position ``first + i`` was done."""
    start = position - AROUND - 1 - first
    times = done[start : start + 2 * AROUND + 2]
    assert len(times) == 2 * AROUND + 2, "the search ended early"
    return [(later - earlier) * 1e3 for earlier, later in pairwise(times)]


def photograph(cache: Cache) -> Path:
    """The picture that all are asked about."""
    return cache.get("photographs") / PHOTOGRAPH


def decoded_photograph(cache: Cache) -> ByteArray:
    """Its pixels, (H, W, 3)."""
    import numpy as np
    from PIL import Image

    with Image.open(photograph(cache)) as picture:
        return np.array(picture)


def preprocess(picture: ByteArray, geometry: Geometry) -> FloatArray:
    """Pixels (1, 3, H, W) as f2edge computes them, for the contenders that bring nothing for it."""
    from f2edge.image import load_image, pixel_values

    return pixel_values(load_image(picture), geometry.image_size, geometry.image_mean, geometry.image_std)
