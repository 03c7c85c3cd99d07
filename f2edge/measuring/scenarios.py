"""The scenarios, as MLPerf Inference defines them: one answer after the other, or as many as possible at once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal, TypeAlias

from f2edge.measuring.asking import since

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from f2edge.asking.encoded import EncodedImage
    from f2edge.asking.questions import Ask
    from f2edge.measuring.asking import Asking, Plan
    from f2edge.result import Result

Progress: TypeAlias = Callable[[str], None]
"""Called with the name of each run as it begins: a warm-up or a measured run."""

Scenario: TypeAlias = Literal["single", "offline", "sustained"]
SCENARIOS: tuple[Scenario, ...] = ("single", "offline", "sustained")

MOST_SECOND_QUESTIONS = 100
"""As many as a 99th percentile takes; a long measurement is not made half as long again for them."""


@dataclass
class Taken:
    """The answers of a measurement.

    Args:
        stages: the milliseconds of each stage, one for each answer.
        ended: when each answer ended, in seconds since the start.
        last: the last result.
        encoded: the picture of the last one, encoded.
    """

    stages: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    ended: list[float] = field(default_factory=list)
    last: Result | None = None
    encoded: EncodedImage | None = None

    def add(self, result: Result, seconds: float) -> None:
        """Add one answer that has ended now."""
        for stage, milliseconds in result.timings_ms.items():
            self.stages[stage].append(milliseconds)
        self.ended.append(seconds)
        self.last = result


def one_by_one(asking: Asking, plan: Plan, progress: Progress) -> Taken:
    """Ask again as soon as the answer is there, until it is enough."""
    taken, started = Taken(), time.perf_counter()
    plan.start()
    while not plan.enough(len(taken.ended)):
        progress(f"run {len(taken.ended) + 1}")
        taken.encoded, result = asking.once()
        taken.add(result, since(started) / 1e3)
    return taken


def second_questions(asking: Asking, taken: Taken) -> list[float]:
    """Ask the encoded picture again, as often as it was asked; return the milliseconds of each question."""
    assert taken.encoded
    return [asking.again(taken.encoded) for _ in taken.ended[:MOST_SECOND_QUESTIONS]]


def all_at_once(asking: Asking, plan: Plan, batch: int, progress: Progress) -> Taken:
    """Have all workers answer batches of questions that are all there from the start, until it is enough."""
    taken, started = Taken(), time.perf_counter()
    for result in asking.model.run_many(_questions(asking, plan, progress), batch=batch):
        taken.add(result, since(started) / 1e3)
    return taken


def _questions(asking: Asking, plan: Plan, progress: Progress) -> Iterator[Ask]:
    """Yield questions until they are enough."""
    plan.start()
    for given in count():
        if plan.enough(given):
            return
        progress(f"run {given + 1}")
        yield asking.fresh()


@dataclass(frozen=True)
class CurvePoint:
    """The answers of one part of a long measurement.

    Args:
        seconds: the middle of the part, in seconds since the start.
        answers: how many answers ended in it.
        p50_ms: their median total in milliseconds.
        clock_mhz: the mean clock of the processors in MHz; None if the system does not tell.
        hottest_c: the highest temperature in degrees Celsius; None if the system does not tell.
        watts: the mean power in watts; None if the system does not tell.
    """

    seconds: float
    answers: int
    p50_ms: float
    clock_mhz: float | None
    hottest_c: float | None
    watts: float | None


def by_name(stages: Mapping[str, Sequence[float]], order: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return the samples of each stage that was timed, in an order."""
    return {stage: tuple(stages[stage]) for stage in order if stages.get(stage)}
