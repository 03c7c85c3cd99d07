"""Measure a bundle on this device: the latency of each stage of an answer, throughput, and two bundles in turns."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from f2edge.measuring.asking import Plan, check_task
from f2edge.measuring.comparison import Comparison, Turns
from f2edge.measuring.conditions import read_conditions
from f2edge.measuring.curve import curve
from f2edge.measuring.opening import Crowd, Opened, plan_of, seconds_of, whole
from f2edge.measuring.report import LatencyReport, describe, now, resources, surroundings
from f2edge.measuring.scenarios import Progress, Scenario, second_questions
from f2edge.measuring.stages import EXCLUDED, MEANINGS, PARTS, STAGES
from f2edge.measuring.starts import measure_starts
from f2edge.measuring.system import SYSTEM
from f2edge.measuring.watch import watched

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.image import ImageSource
    from f2edge.measuring.scenarios import Taken
    from f2edge.measuring.watch import Watch

__all__ = ["EXCLUDED", "MEANINGS", "PARTS", "STAGES", "Comparison", "LatencyReport", "Progress", "bench", "compare"]

_COMPARED_RUNS = 120


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
    crowd = Crowd.of(scenario, workers, batch)
    plan = plan_of(scenario, runs, duration, crowd)
    whole("starts", starts, 0)
    whole("warmup", warmup, 0)
    question = (image, task, num_beams, new_tokens)
    process = {"path": str(path), "device": device, "threads": threads, "image": image, "task": task}
    process |= {"num_beams": num_beams, "new_tokens": new_tokens}
    began, before = now(), read_conditions(SYSTEM)
    opened = Opened.of(path, device, threads, crowd.workers, question)
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
        runs: the least number of answers of each bundle, an even number; by default 120.
        warmup: the number of answers of each bundle before those, at least 1.
        progress: called with the name of each round.
        duration: the least seconds of all rounds together.

    Raises:
        InputError: see :func:`bench`.
        F2EdgeError: see :func:`f2edge.load` and :meth:`f2edge.Florence2.run`.
    """
    check_task(task)
    plan = Plan(whole("runs", _COMPARED_RUNS if runs is None else runs, 1), seconds_of(duration))
    whole("warmup", warmup, 1)
    question = (image, task, num_beams, new_tokens)
    began, before = now(), read_conditions(SYSTEM)
    with ExitStack() as models:
        both = [Opened.of(bundle, device, threads, 1, question) for bundle in (path, against)]
        for opened in both:
            models.enter_context(opened.asking.model)
            opened.warm_up(warmup, progress)
        turns = Turns(both[0].asking, both[1].asking)
        with watched(SYSTEM, before) as watch:
            turns.run(plan, progress)
        reports = [
            _turn_report(opened, turns, index, watch, began=began, warmup=warmup) for index, opened in enumerate(both)
        ]
    return Comparison(reports[0], reports[1], turns.ratios(), turns.rounds)


def _report(opened: Opened, taken: Taken, watch: Watch, scenario: Scenario, began: str, warmup: int) -> LatencyReport:
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
        **surroundings(watch, () if scenario == "offline" else stages["total"]),
        **resources(watch, answers),
    )


def _turn_report(opened: Opened, turns: Turns, index: int, watch: Watch, *, began: str, warmup: int) -> LatencyReport:
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
