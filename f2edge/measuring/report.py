"""The result of a measurement, and its JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from f2edge.bundle.manifest import sha256
from f2edge.bundle.writing import MANIFEST
from f2edge.machine import fingerprint, peak_rss_mib
from f2edge.measuring.conditions import board
from f2edge.measuring.judging import doubts
from f2edge.measuring.stages import EXCLUDED
from f2edge.measuring.statistics import statistics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from f2edge.bundle.manifest import Bundle
    from f2edge.engine import BackboneRuntime, Runtime
    from f2edge.measuring.asking import Asking
    from f2edge.measuring.energy import Energy
    from f2edge.measuring.scenarios import CurvePoint, Scenario
    from f2edge.measuring.starts import Starts
    from f2edge.measuring.watch import Watch
    from f2edge.result import Result

_PACKAGES = ("f2edge", "numpy", "pillow", "tokenizers")


@dataclass(frozen=True)
class LatencyReport:
    """The result of :func:`f2edge.bench.bench`.

    Args:
        samples_ms: the times of each stage in milliseconds, one per run; a single one of ``load`` and ``first_answer``,
            and at most 100 of ``second_question``.  In the scenario "offline" they are shares: the time of a batch is
            divided among its questions.
        task: the task that was asked; "features" for the maps of a backbone, which have no tokens, steps or beams.
        tokens: the tokens generated for one answer, the end token included.
        steps: the decoder steps of that answer; beam search may go on after the best answer has ended.
        num_beams: the beams of the search.
        image_size: (height, width) of the input of the model in pixels.
        warmup: the number of runs before the measured ones.
        peak_rss_mib: the peak memory of the process in MiB; None if the system does not tell, or if two bundles were
            open.
        device: the machine, the engine and its device.
        threads: the threads that the engine computes with; None if it does not tell.
        versions: the versions of the packages involved.
        bundle_sha256: the hash of the manifest, which holds the hashes of all other files.
        excluded: a sentence on what is not measured.
        bundle: the name of the directory of the bundle.
        target: the target that the bundle was compiled for.
        precision: the precision of each component.
        scenario: "single", "offline" or "sustained".
        date: when the measurement began, in UTC, as ISO 8601 has it.
        seconds: how long the measured runs took, in seconds.
        answers_per_s: answers per second: of the whole measurement in "offline", else one divided by the mean total.
        workers: how many answers were computed at the same time.
        batch: how many questions were decoded together.
        mean_rss_mib: the mean memory of the process during the runs in MiB; None as for ``peak_rss_mib``.
        energy: what the runs took; None if the machine does not tell, or if two bundles took turns.
        starts: cold and warm starts in new processes; None if they were not measured.
        curve: the speed as time went by; only in the scenario "sustained".
        conditions: the state of the machine before, during and after the runs.
        warnings: what makes the times doubtful, each as a short sentence.
        command: the command that repeats the measurement; None if it was not made by one.
    """

    samples_ms: Mapping[str, tuple[float, ...]]
    task: str
    tokens: int
    steps: int
    num_beams: int
    image_size: tuple[int, int]
    warmup: int
    peak_rss_mib: float | None
    device: Mapping[str, str | int]
    threads: int | None
    versions: Mapping[str, str]
    bundle_sha256: str
    excluded: str = EXCLUDED
    bundle: str = ""
    target: str = ""
    precision: Mapping[str, str] = field(default_factory=dict)
    scenario: Scenario = "single"
    date: str = ""
    seconds: float | None = None
    answers_per_s: float | None = None
    workers: int = 1
    batch: int = 1
    mean_rss_mib: float | None = None
    energy: Energy | None = None
    starts: Starts | None = None
    curve: tuple[CurvePoint, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    command: str | None = None

    @property
    def runs(self) -> int:
        """The number of measured runs."""
        return len(self.samples_ms["total"])

    def statistics(self) -> dict[str, dict[str, float | None]]:
        """Return ``p50``, ``p90``, ``p99``, ``mean`` and ``stdev`` of each stage in milliseconds.

        A percentile is None if there are too few runs for it: ``p90`` takes 10, ``p99`` takes 100.
        """
        return {stage: statistics(samples) for stage, samples in self.samples_ms.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "bundle_sha256": self.bundle_sha256,
            "task": self.task,
            "tokens": self.tokens,
            "steps": self.steps,
            "num_beams": self.num_beams,
            "image_size": list(self.image_size),
            "runs": self.runs,
            "warmup": self.warmup,
            "stages_ms": self.statistics(),
            "samples_ms": {stage: [round(ms, 4) for ms in samples] for stage, samples in self.samples_ms.items()},
            "peak_rss_mib": self.peak_rss_mib,
            "threads": self.threads,
            "device": dict(self.device),
            "versions": dict(self.versions),
            "excluded": self.excluded,
            **self._measurement(),
        }

    def _measurement(self) -> dict[str, Any]:
        """Return how and under which conditions it was measured."""
        return {
            "bundle": self.bundle,
            "target": self.target,
            "precision": dict(self.precision),
            "scenario": self.scenario,
            "date": self.date,
            "seconds": self.seconds,
            "answers_per_s": self.answers_per_s,
            "workers": self.workers,
            "batch": self.batch,
            "mean_rss_mib": self.mean_rss_mib,
            "energy": self.energy and self.energy.to_json(),
            "starts": self.starts and self.starts.to_json(),
            "curve": [asdict(point) for point in self.curve],
            "conditions": dict(self.conditions),
            "warnings": list(self.warnings),
            "command": self.command,
        }


def now() -> str:
    """Return this moment in UTC, as ISO 8601 has it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def describe(asking: Asking, result: Result) -> dict[str, Any]:
    """Return the fields of a report that tell what was asked of which bundle, and where."""
    return {
        "task": result.task,
        "tokens": len(result.token_ids) - 1,
        "steps": result.steps,
        "num_beams": asking.settings.num_beams,
        "image_size": asking.model.bundle.geometry.image_size,
        **identify(asking.model.bundle, asking.model.runtime),
    }


def identify(bundle: Bundle, runtime: Runtime | BackboneRuntime) -> dict[str, Any]:
    """Return the fields of a report that tell which bundle was measured, and where."""
    return {
        "device": {**fingerprint(), "runtime": bundle.recipe.runtime, "device": runtime.device},
        "threads": runtime.threads,
        "versions": {name: version(name) for name in (*_PACKAGES, bundle.recipe.runtime)},
        "bundle_sha256": sha256(bundle.path / MANIFEST),
        "bundle": bundle.path.resolve().name,
        "target": bundle.recipe.target,
        "precision": dict(bundle.recipe.precision),
    }


def surroundings(watch: Watch, times: Sequence[float] = ()) -> dict[str, Any]:
    """Return the fields of a report that tell under which conditions it was measured.

    Args:
        watch: what was seen of the machine.
        times: the times of the same work again and again, in milliseconds and in their order.
    """
    load = watch.contention
    return {
        "seconds": round(watch.seconds, 3),
        "conditions": {
            "board": board(watch.system),
            "before": watch.before.to_json(),
            "after": watch.after.to_json(),
            "clock_mhz": watch.mean("clock_mhz"),
            "hottest_c": max((r.hottest_c for r in watch.readings if r.hottest_c is not None), default=None),
            "contention": load and asdict(load),
        },
        "warnings": doubts(watch.before, watch.after, load, times),
    }


def resources(watch: Watch, answers: int) -> dict[str, Any]:
    """Return the fields of a report on what the runs of one bundle took."""
    return {"peak_rss_mib": peak_rss_mib(), "mean_rss_mib": watch.mean("rss_mib"), "energy": watch.energy(answers)}
