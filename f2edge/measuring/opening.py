"""Open what is measured, warm it up, and decide how long to measure."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from f2edge.asking.many import DEFAULT_BATCH
from f2edge.errors import InputError
from f2edge.lines import shown
from f2edge.measuring.asking import Asking, Plan, since
from f2edge.measuring.scenarios import Scenario, all_at_once, by_name, one_by_one
from f2edge.measuring.stages import STAGES
from f2edge.model import load
from f2edge.numbers import is_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from f2edge.measuring.scenarios import Progress, Taken

_DEFAULT_RUNS = 10
_SUSTAINED_SECONDS = 300.0
_ROUNDS_OF_BATCHES = 4
"""How many batches each worker answers in the scenario "offline" if nothing else is asked for."""


@dataclass
class Opened:
    """A model that was opened, with the times of that and of its first answer in milliseconds."""

    asking: Asking
    load_ms: float
    first_answer_ms: float | None = None

    @classmethod
    def of(
        cls, path: str | Path, device: str | None, threads: int | None, workers: int, question: tuple[Any, ...]
    ) -> Opened:
        """Open a bundle; the question is the arguments of :meth:`Asking.of` after the model."""
        started = time.perf_counter()
        model = load(path, device, threads=threads, workers=workers)
        milliseconds = since(started)
        return cls(Asking.of(model, *question), milliseconds)

    def warm_up(self, count: int, progress: Progress) -> None:
        """Ask so many times before what is measured."""
        for _ in range(count):
            progress("warming up")
            _, result = self.asking.once()
            self.first_answer_ms = self.first_answer_ms or result.timings_ms["total"]

    def samples(self, stages: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
        """Return all samples in the order of the stages; the first answer of all may be a measured one."""
        first = stages["total"][0] if self.first_answer_ms is None else self.first_answer_ms
        return by_name({"load": [self.load_ms], "first_answer": [first], **stages}, STAGES)


@dataclass(frozen=True)
class Crowd:
    """How many answers are computed at the same time, and how many questions are decoded together."""

    scenario: Scenario
    workers: int
    batch: int

    @classmethod
    def of(cls, scenario: Scenario, workers: int | None, batch: int | None) -> Crowd:
        """Check that the scenario is one, and that the numbers belong to it.

        Raises:
            InputError: they do not.
        """
        if scenario not in get_args(Scenario):
            raise InputError(f"`scenario` is {shown(scenario)}; it is one of {', '.join(get_args(Scenario))}")
        if scenario == "offline":
            many = whole("batch", DEFAULT_BATCH if batch is None else batch, 1)
            return cls(scenario, whole("workers", 1 if workers is None else workers, 1), many)
        if workers is not None or batch is not None:
            raise InputError(f"`workers` and `batch` go with `scenario` offline, not with {scenario}")
        return cls(scenario, 1, 1)

    def warm_up(self, asking: Asking, count: int) -> None:
        """Have each worker answer batches as large as those that are measured."""
        if count and self.scenario == "offline":
            all_at_once(asking, Plan(self.workers * self.batch), self.batch, lambda _name: None)

    def measure(self, asking: Asking, plan: Plan, progress: Progress) -> Taken:
        """Ask until it is enough."""
        if self.scenario == "offline":
            return all_at_once(asking, plan, self.batch, progress)
        return one_by_one(asking, plan, progress)


def plan_of(scenario: Scenario, runs: int | None, duration: float | None, crowd: Crowd) -> Plan:
    """Return how long to measure in a scenario, where nothing else is asked for.

    Raises:
        InputError: a number is out of its range.
    """
    usual = {"single": _DEFAULT_RUNS, "sustained": 1, "offline": _ROUNDS_OF_BATCHES * crowd.workers * crowd.batch}
    if duration is None and scenario == "sustained":
        duration = _SUSTAINED_SECONDS
    return Plan(whole("runs", usual[scenario] if runs is None else runs, 1), seconds_of(duration))


def whole(name: str, value: object, least: int) -> int:
    """Check a whole number.

    Raises:
        InputError: it is none, or too small.
    """
    if not is_whole(value) or value < least:
        raise InputError(f"`{name}` is {shown(value)}; it must be a whole number of at least {least}")
    return int(value)


def seconds_of(duration: object) -> float:
    """Check a number of seconds; None is 0.

    Raises:
        InputError: it is none, or negative.
    """
    if duration is None:
        return 0.0
    if not isinstance(duration, (int, float)) or isinstance(duration, bool) or not 0 <= duration < math.inf:
        raise InputError(f"`duration` is {shown(duration)}; it must be a number of seconds from 0")
    return float(duration)
