"""Measure the latency of each stage of an answer on this device."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from f2edge.bundle.golden import GoldenArrays
from f2edge.bundle.manifest import GOLDEN, sha256
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import InputError, TaskError
from f2edge.machine import fingerprint, peak_rss_mib
from f2edge.model import load
from f2edge.tasks.table import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.arrays import ByteArray
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.image import ImageSource
    from f2edge.model import Florence2
    from f2edge.result import Result

Progress: TypeAlias = Callable[[str], None]
"""Called with the name of each run as it begins: a warm-up or a measured run."""

STAGES = (
    *("load", "first_answer", "preprocess", "vision", "encoder", "first_token", "per_token"),
    *("decode", "postprocess", "total", "second_question"),
)
MEANINGS = {
    "first_answer": "The total of the very first question after the load, when engines still prepare for its shapes.",
    "per_token": "The mean time of a decoder step after the first.",
    "decode": "The whole search: the first token and all later steps, with beams also those that go on after the best "
    "answer has ended, so it is first_token + (steps - 1) x per_token.",
    "total": "One question about a new image, from its file to the answer: preprocess, vision, encoder, decode and "
    "postprocess; the load is left out.",
    "second_question": "One question about an image that was encoded before: a total without preprocess and vision.",
}
"""Explanations of the stages whose names are not enough."""

EXCLUDED = (
    "Not measured: compiling the checkpoint into the bundle, and the start of Python. Load and first_answer are "
    "measured once; load checks the SHA-256 of all files; preprocess holds reading and decoding an image file."
)
_PERCENTILES = (50, 90, 99)
_PACKAGES = ("f2edge", "numpy", "pillow", "tokenizers")


@dataclass(frozen=True)
class LatencyReport:
    """The result of :func:`bench`.

    Args:
        samples_ms: the times of each stage in milliseconds, one per run; a single one of ``load`` and ``first_answer``.
        task: the task that was asked.
        tokens: the tokens generated for one answer, the end token included.
        steps: the decoder steps of that answer; beam search may go on after the best answer has ended.
        num_beams: the beams of the search.
        image_size: (height, width) of the input of the model in pixels.
        warmup: the number of runs before the measured ones.
        peak_rss_mib: the peak memory of the process in MiB; None if the system does not tell.
        device: the machine, the engine and its device.
        threads: the threads that the engine computes with; None if it does not tell.
        versions: the versions of the packages involved.
        bundle_sha256: the hash of the manifest, which holds the hashes of all other files.
        excluded: a sentence on what is not measured.
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

    @property
    def runs(self) -> int:
        """The number of measured runs."""
        return len(self.samples_ms["total"])

    def statistics(self) -> dict[str, dict[str, float]]:
        """Return ``p50``, ``p90``, ``p99``, ``mean`` and ``stdev`` of each stage in milliseconds."""
        return {stage: _statistics(samples) for stage, samples in self.samples_ms.items()}

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
        }


def bench(
    path: str | Path,
    device: str | None = None,
    image: ImageSource | None = None,
    task: str = "caption",
    *,
    num_beams: int | None = None,
    new_tokens: int | None = None,
    threads: int | None = None,
    runs: int = 10,
    warmup: int = 2,
    progress: Progress = lambda _name: None,
) -> LatencyReport:
    """Open a bundle and time its answers to one question.

    Args:
        path: the directory of the bundle.
        device: the name that the engine gives a device; by default the device that the bundle was compiled for.
        image: the picture to ask about; by default the golden picture of the bundle, which has the size of the model.
        task: a task that needs no text and no region.
        num_beams: beams of the search; by default those of the bundle.
        new_tokens: generate exactly so many tokens; by default until the model ends its answer.
        threads: CPU threads to compute with; by default the engine chooses.
        runs: the number of measured runs, at least 1.
        warmup: the number of runs before those.
        progress: called with the name of each run.

    Raises:
        InputError: the task needs a text or a region, or ``runs`` is below 1.
        F2EdgeError: see :func:`f2edge.load` and :meth:`f2edge.Florence2.run`.
    """
    _check(task, runs)
    started = time.perf_counter()
    model = load(path, device, threads=threads)
    samples = defaultdict(list, load=[_since(started)])
    settings = _settings(model, num_beams, new_tokens)
    picture = _golden_picture(model) if image is None else image
    for index in range(-warmup, runs):
        progress("warming up" if index < 0 else f"run {index + 1}")
        result, timings = _ask_twice(model, picture, task, settings)
        samples.setdefault("first_answer", [timings["total"]])
        for stage in STAGES if index >= 0 else ():
            if stage in timings:
                samples[stage].append(timings[stage])
    return _report(model, settings, result, {s: tuple(samples[s]) for s in STAGES if s in samples}, warmup)


def _check(task: str, runs: int) -> None:
    if runs < 1:
        raise InputError(f"bench with {runs} runs measures nothing; it takes at least 1")
    if resolve(task).input != "none":
        name = resolve(task).name or "a free prompt"
        raise TaskError(f"bench asks without a text or a region, {name} needs one; choose caption or od, say")


def _settings(model: Florence2, num_beams: int | None, new_tokens: int | None) -> GenerationSettings:
    """Return the settings; for a fixed number of tokens, the end token is one that the model does not have."""
    settings = model.settings(num_beams, new_tokens)
    if new_tokens is None:
        return settings
    return replace(settings, eos_token_id=model.bundle.geometry.vocab_size)


def _golden_picture(model: Florence2) -> ByteArray:
    bundle = model.bundle
    return GoldenArrays.load(bundle.path / GOLDEN, len(bundle.golden)).picture


def _ask_twice(
    model: Florence2, picture: ImageSource, task: str, settings: GenerationSettings
) -> tuple[Result, dict[str, float]]:
    """Ask one question twice about one encoded image; return the answer and all times in milliseconds."""
    encoded = model.encode(picture)
    result = encoded.run(task, settings=settings)
    started = time.perf_counter()
    encoded.run(task, settings=settings)
    return result, {**result.timings_ms, "second_question": _since(started)}


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3


def _statistics(samples: Sequence[float]) -> dict[str, float]:
    percentiles = zip(_PERCENTILES, np.percentile(samples, _PERCENTILES), strict=True)
    values = {f"p{rank}": value for rank, value in percentiles}
    values |= {"mean": np.mean(samples), "stdev": np.std(samples)}
    return {name: round(float(value), 4) for name, value in values.items()}


def _report(
    model: Florence2,
    settings: GenerationSettings,
    result: Result,
    samples: Mapping[str, tuple[float, ...]],
    warmup: int,
) -> LatencyReport:
    bundle = model.bundle
    return LatencyReport(
        samples_ms=samples,
        task=result.task,
        tokens=len(result.token_ids) - 1,
        steps=result.steps,
        num_beams=settings.num_beams,
        image_size=bundle.geometry.image_size,
        warmup=warmup,
        peak_rss_mib=peak_rss_mib(),
        device={**fingerprint(), "runtime": bundle.recipe.runtime, "device": model.runtime.device},
        threads=model.runtime.threads,
        versions={name: version(name) for name in (*_PACKAGES, bundle.recipe.runtime)},
        bundle_sha256=sha256(bundle.path / MANIFEST),
    )
