"""Measure a bundle on this device: the latency of each stage of an answer, throughput, and two bundles in turns."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, get_args

from f2edge.asking.many import DEFAULT_BATCH
from f2edge.errors import InputError
from f2edge.lines import shown
from f2edge.measuring.asking import Asking, Plan, check_task, since
from f2edge.measuring.comparison import Comparison, Turns
from f2edge.measuring.conditions import read_conditions
from f2edge.measuring.curve import curve
from f2edge.measuring.report import LatencyReport, describe, now, resources, surroundings
from f2edge.measuring.scenarios import Progress, Scenario, all_at_once, by_name, one_by_one, second_questions
from f2edge.measuring.stages import EXCLUDED, MEANINGS, PARTS, STAGES
from f2edge.measuring.starts import measure_starts
from f2edge.measuring.system import SYSTEM
from f2edge.measuring.watch import watched
from f2edge.model import load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from f2edge.image import ImageSource
    from f2edge.measuring.scenarios import Taken
    from f2edge.measuring.watch import Watch

__all__ = ["EXCLUDED", "MEANINGS", "PARTS", "STAGES", "Comparison", "LatencyReport", "Progress", "bench", "compare"]

_DEFAULT_RUNS = 10
_COMPARED_RUNS = 60
_SUSTAINED_SECONDS = 300.0
_ROUNDS_OF_BATCHES = 4
"""How many batches each worker answers in the scenario "offline" if nothing else is asked for."""


def bench(
    path: str | Path,
    device: str | None = None,
    image: ImageSource | None = None,
    task: str = "caption",
    *,
    num_beams: int | None = None,
    new_tokens: int | None = None,
    threads: int | None = None,
    runs: int | None = None,
    warmup: int = 2,
    progress: Progress = lambda _name: None,
    scenario: Scenario = "single",
    duration: float | None = None,
    workers: int | None = None,
    batch: int | None = None,
    starts: int = 0,
) -> LatencyReport:
    """Open a bundle and time its answers to one question.

    Args:
        path: the directory of the bundle.
        device: the name that the engine gives a device; by default the device that the bundle was compiled for.
        image: the picture to ask about; by default the golden picture of the bundle, which has the size of the model.
        task: a task that needs no text and no region.
        num_beams: beams of the search; by default those of the bundle.
        new_tokens: generate exactly so many tokens; by default until the model ends its answer.
        threads: CPU threads that each worker computes with; by default the engine chooses.
        runs: the least number of measured runs; by default 10, in "sustained" 1, and in "offline" 4 batches for each
            worker.
        warmup: the number of runs before those.
        progress: called with the name of each run.
        scenario: "single" asks one question after the other; "sustained" does so for minutes, and reports the speed as
            time goes by; "offline" asks as many as the machine can answer, by several workers and in batches.
        duration: the least seconds of the measured runs; by default 300 in "sustained", else 0.
        workers: how many answers are computed at the same time in "offline"; by default 1.
        batch: how many questions are decoded together in "offline"; by default 8.
        starts: how many cold and how many warm starts are measured, each in a new process.

    Raises:
        InputError: the task needs a text or a region, or a number is out of its range.
        F2EdgeError: see :func:`f2edge.load` and :meth:`f2edge.Florence2.run`.
    """
    check_task(task)
    crowd = _Crowd.of(scenario, workers, batch)
    plan = _plan(scenario, runs, duration, crowd)
    _whole("starts", starts, 0)
    _whole("warmup", warmup, 0)
    question = (image, task, num_beams, new_tokens)
    process = {"path": str(path), "device": device, "threads": threads, "image": image, "task": task}
    process |= {"num_beams": num_beams, "new_tokens": new_tokens}
    began, before = now(), read_conditions(SYSTEM)
    opened = _Opened.of(path, device, threads, crowd.workers, question)
    with opened.asking.model:
        opened.warm_up(warmup, progress)
        crowd.warm_up(opened.asking, warmup)
        with watched(SYSTEM, before) as watch:
            taken = crowd.measure(opened.asking, plan, progress)
        report = _report(opened, taken, watch, scenario, began, warmup)
    measured = measure_starts(process, starts) if starts else None
    return replace(report, workers=crowd.workers, batch=crowd.batch, starts=measured)


def compare(
    path: str | Path,
    against: str | Path,
    device: str | None = None,
    image: ImageSource | None = None,
    task: str = "caption",
    *,
    num_beams: int | None = None,
    new_tokens: int | None = None,
    threads: int | None = None,
    runs: int | None = None,
    warmup: int = 2,
    progress: Progress = lambda _name: None,
    duration: float | None = None,
) -> Comparison:
    """Open two bundles, have them answer the same question in turns, and compare their times.

    A round is an answer of the one, two of the other, and one more of the first, so that a machine that becomes slower
    slows down both.  Memory and energy are not measured, since they are those of both.

    Args:
        path: the directory of the bundle.
        against: the directory of the bundle that it is compared with.
        device: as for :func:`bench`, for both bundles.
        image: as for :func:`bench`; by default each bundle gets its own golden picture.
        task: as for :func:`bench`.
        num_beams: as for :func:`bench`.
        new_tokens: as for :func:`bench`.
        threads: as for :func:`bench`.
        runs: the least number of answers of each bundle, an even number; by default 60.
        warmup: the number of answers of each bundle before those, at least 1.
        progress: called with the name of each round.
        duration: the least seconds of all rounds together.

    Raises:
        InputError: see :func:`bench`.
        F2EdgeError: see :func:`f2edge.load` and :meth:`f2edge.Florence2.run`.
    """
    check_task(task)
    plan = Plan(_whole("runs", _COMPARED_RUNS if runs is None else runs, 1), _seconds(duration))
    _whole("warmup", warmup, 1)
    question = (image, task, num_beams, new_tokens)
    began, before = now(), read_conditions(SYSTEM)
    both = [_Opened.of(bundle, device, threads, 1, question) for bundle in (path, against)]
    for opened in both:
        opened.warm_up(warmup, progress)
    turns = Turns(both[0].asking, both[1].asking)
    with watched(SYSTEM, before) as watch:
        turns.run(plan, progress)
    reports = [
        _turn_report(opened, turns, index, watch, began=began, warmup=warmup) for index, opened in enumerate(both)
    ]
    for opened in both:
        opened.asking.model.close()
    return Comparison(reports[0], reports[1], turns.ratios(), turns.rounds)


@dataclass
class _Opened:
    """A model that was opened, with the times of that and of its first answer in milliseconds."""

    asking: Asking
    load_ms: float
    first_answer_ms: float | None = None

    @classmethod
    def of(
        cls, path: str | Path, device: str | None, threads: int | None, workers: int, question: tuple[Any, ...]
    ) -> _Opened:
        started = time.perf_counter()
        model = load(path, device, threads=threads, workers=workers)
        milliseconds = since(started)
        return cls(Asking.of(model, *question), milliseconds)

    def warm_up(self, count: int, progress: Progress) -> None:
        for _ in range(count):
            progress("warming up")
            _, result = self.asking.once()
            self.first_answer_ms = self.first_answer_ms or result.timings_ms["total"]

    def samples(self, stages: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
        """Return all samples in the order of the stages; the first answer of all may be a measured one."""
        first = stages["total"][0] if self.first_answer_ms is None else self.first_answer_ms
        return by_name({"load": [self.load_ms], "first_answer": [first], **stages}, STAGES)


@dataclass(frozen=True)
class _Crowd:
    """How many answers are computed at the same time, and how many questions are decoded together."""

    scenario: Scenario
    workers: int
    batch: int

    @classmethod
    def of(cls, scenario: Scenario, workers: int | None, batch: int | None) -> _Crowd:
        if scenario not in get_args(Scenario):
            raise InputError(f"`scenario` is {shown(scenario)}; it is one of {', '.join(get_args(Scenario))}")
        if scenario == "offline":
            return cls(scenario, _whole("workers", workers or 1, 1), _whole("batch", batch or DEFAULT_BATCH, 1))
        if workers is not None or batch is not None:
            raise InputError(f"`workers` and `batch` go with `scenario` offline, not with {scenario}")
        return cls(scenario, 1, 1)

    def warm_up(self, asking: Asking, count: int) -> None:
        """Have each worker answer batches as large as those that are measured."""
        if count and self.scenario == "offline":
            all_at_once(asking, Plan(self.workers * self.batch), self.workers, self.batch, lambda _name: None)

    def measure(self, asking: Asking, plan: Plan, progress: Progress) -> Taken:
        if self.scenario == "offline":
            return all_at_once(asking, plan, self.workers, self.batch, progress)
        return one_by_one(asking, plan, progress)


def _plan(scenario: Scenario, runs: int | None, duration: float | None, crowd: _Crowd) -> Plan:
    usual = {"single": _DEFAULT_RUNS, "sustained": 1, "offline": _ROUNDS_OF_BATCHES * crowd.workers * crowd.batch}
    if duration is None and scenario == "sustained":
        duration = _SUSTAINED_SECONDS
    return Plan(_whole("runs", usual[scenario] if runs is None else runs, 1), _seconds(duration))


def _whole(name: str, value: object, least: int) -> int:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise InputError(f"`{name}` is {shown(value)}; it must be a whole number of at least {least}")
    return int(value)


def _seconds(duration: object) -> float:
    if duration is None:
        return 0.0
    if not isinstance(duration, (int, float)) or isinstance(duration, bool) or not 0 <= duration < math.inf:
        raise InputError(f"`duration` is {shown(duration)}; it must be a number of seconds from 0")
    return float(duration)


def _report(opened: _Opened, taken: Taken, watch: Watch, scenario: Scenario, began: str, warmup: int) -> LatencyReport:
    assert taken.last
    answers, stages = len(taken.ended), dict(taken.stages)
    if scenario == "single":
        stages["second_question"] = second_questions(opened.asking, taken)
    rate = answers / watch.seconds if scenario == "offline" else _rate(stages["total"])
    return LatencyReport(
        samples_ms=opened.samples(stages),
        warmup=warmup,
        scenario=scenario,
        date=began,
        answers_per_s=round(rate, 4),
        curve=curve(taken, watch.readings) if scenario == "sustained" else (),
        **describe(opened.asking, taken.last),
        **surroundings(watch),
        **resources(watch, answers),
    )


def _turn_report(opened: _Opened, turns: Turns, index: int, watch: Watch, *, began: str, warmup: int) -> LatencyReport:
    """Return the report of one of two bundles that took turns."""
    return LatencyReport(
        samples_ms=opened.samples(turns.stages[index]),
        warmup=warmup,
        date=began,
        answers_per_s=round(_rate(turns.stages[index]["total"]), 4),
        peak_rss_mib=None,
        **describe(opened.asking, turns.results[index]),
        **surroundings(watch),
    )


def _rate(totals: Sequence[float]) -> float:
    """Return the answers per second of one after the other."""
    return 1e3 * len(totals) / sum(totals)
