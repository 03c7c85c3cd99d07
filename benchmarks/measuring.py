"""The contract of a contender: it warms up and measures in its own process, and returns samples by measure."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from workload import AROUND, BEAMS, CASES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from artefacts import Cache
    from workload import Workload

    from f2edge.arrays import ByteArray, FloatArray
    from f2edge.geometry import Geometry

Samples: TypeAlias = dict[str, list[float]]
"""Samples by the name of a measure, in milliseconds unless the name ends in another unit."""

WARM_UP_S = 3.0
"""Seconds of warm-up before each turn.  Virtual machines often reclaim the pages of waiting processes.  Without a
warm-up the first answers, which fetch those pages again, would count most for the fastest contender."""
MEASURE_S = 2.0
"""Seconds for one measure in a turn: it is taken at least once, and repeated until they have passed."""
PHOTOGRAPH = "china.jpg"


def step_name(num_beams: int, position: int) -> str:
    """Return the name of the measure of one decoder step."""
    return f"step_{num_beams}_{position}"


class Contender(ABC):
    """One way to run the model or a part of it, opened and ready."""

    @abstractmethod
    def warm_up(self) -> None:
        """Run what is measured, so that engines allocate and compile what they keep."""

    @abstractmethod
    def measure(self) -> Samples:
        """Measure one round."""


class WholeModel(Contender):
    """A contender that answers from a decoded image to text."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload

    @abstractmethod
    def answer(self, case: str, tokens: int) -> str:
        """Return the text of an answer of exactly ``tokens`` tokens, searched with 3 beams."""

    @abstractmethod
    def stages(self) -> dict[str, float]:
        """Return milliseconds of "vision" (tower and projector) and "encoder" (all from there to the first step)."""

    @abstractmethod
    def steps(self, num_beams: int) -> dict[int, list[float]]:
        """Return milliseconds of single decoder steps around each position, with the search's own work."""

    def warm_up(self) -> None:
        """Generate captions."""
        repeated(lambda: self.answer("caption", self.workload.caption_tokens), WARM_UP_S)

    def measure(self) -> Samples:
        """Measure both answers, then the stages, then the steps."""
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
    """Return the milliseconds of one call."""
    started = time.perf_counter()
    function()
    return (time.perf_counter() - started) * 1e3


def timings(function: Callable[[], object]) -> list[float]:
    """Return the milliseconds of each call, of as many calls as :data:`MEASURE_S` allows."""
    return repeated(lambda: timed(function), MEASURE_S)


_T = TypeVar("_T")


def repeated(function: Callable[[], _T], seconds: float) -> list[_T]:
    """Return the results of a function that is called once, and again until ``seconds`` have passed."""
    started, results = time.perf_counter(), [function()]
    while time.perf_counter() - started < seconds:
        results.append(function())
    return results


def around(done: Sequence[float], first: int, position: int) -> list[float]:
    """Return the milliseconds of the steps around a position.

    Args:
        done: times in seconds at which steps ended; ``done[i]`` belongs to the step at position ``first + i``.
        first: position of the first step in ``done``.
        position: the position in the middle.
    """
    start = position - AROUND - 1 - first
    times = done[start : start + 2 * AROUND + 2]
    assert len(times) == 2 * AROUND + 2, "the search ended early"
    return [(later - earlier) * 1e3 for earlier, later in pairwise(times)]


def photograph(cache: Cache) -> Path:
    """Return the path of the photograph that all contenders are asked about."""
    return cache.get("photographs") / PHOTOGRAPH


def decoded_photograph(cache: Cache) -> ByteArray:
    """Return the photograph's pixels (H, W, 3) as bytes."""
    import numpy as np
    from PIL import Image

    with Image.open(photograph(cache)) as picture:
        return np.array(picture)


def preprocess(picture: ByteArray, geometry: Geometry) -> FloatArray:
    """Return pixel values (1, 3, H, W) as f2edge computes them, for contenders without preprocessing of their own."""
    from f2edge.image import load_image, model_pixels

    return model_pixels(load_image(picture), geometry)
