"""Measure how long the feature maps of a backbone take on this device."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING

from f2edge.backbone import load_backbone
from f2edge.bundle.golden_maps import load_golden_maps
from f2edge.bundle.manifest import GOLDEN
from f2edge.measuring.asking import Plan, since
from f2edge.measuring.conditions import read_conditions
from f2edge.measuring.opening import whole
from f2edge.measuring.report import LatencyReport, identify, now, resources, surroundings
from f2edge.measuring.scenarios import by_name
from f2edge.measuring.stages import FEATURES, STAGES
from f2edge.measuring.system import SYSTEM
from f2edge.measuring.watch import watched

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.backbone import Backbone
    from f2edge.image import ImageSource
    from f2edge.measuring.scenarios import Progress

DEFAULT_RUNS = 10


def bench_features(
    path: str | Path,
    device: str | None = None,
    image: ImageSource | None = None,
    *,
    threads: int | None = None,
    runs: int | None = None,
    warmup: int = 2,
    progress: Progress = lambda _name: None,
) -> LatencyReport:
    """Open a backbone bundle and time the feature maps of one picture.

    The report has the stages ``load``, ``first_answer`` (the first maps, for which an engine may compile the graph),
    ``preprocess`` (from the picture's file to prepared pixels), ``vision`` and ``total``, the sum of these two.  Its
    ``image_size`` is that of the prepared pixels.

    Args:
        path: the directory of the bundle.
        device: the name that the engine gives a device; by default the device that the bundle was compiled for.
        image: the picture; by default the golden one, of the size that the checkpoint was trained at.
        threads: CPU threads to compute with; by default the engine chooses.
        runs: the number of measured runs; by default 10.
        warmup: the number of runs before those.
        progress: called with the name of each run.

    Raises:
        InputError: a number is out of its range.
        F2EdgeError: see :func:`f2edge.load_backbone` and :meth:`f2edge.Backbone.features`.
    """
    plan = Plan(whole("runs", DEFAULT_RUNS if runs is None else runs, 1))
    whole("warmup", warmup, 0)
    began, before = now(), read_conditions(SYSTEM)
    started = time.perf_counter()
    backbone = load_backbone(path, device, threads=threads)
    stages = defaultdict(list, {"load": [since(started)]})
    with backbone:
        picture = _golden(backbone) if image is None else image
        for _ in range(warmup):
            progress("warming up")
            stages["first_answer"] = stages["first_answer"] or [sum(_once(backbone, picture))]
        with watched(SYSTEM, before) as watch:
            _measure(backbone, picture, plan, progress, stages)
        stages["first_answer"] = stages["first_answer"] or stages["total"][:1]
        size = backbone.pixels(picture).shape[2:]
        return LatencyReport(
            samples_ms=by_name(stages, STAGES),
            task=FEATURES,
            tokens=0,
            steps=0,
            num_beams=1,
            image_size=(size[0], size[1]),
            warmup=warmup,
            date=began,
            answers_per_s=round(1e3 * len(stages["total"]) / sum(stages["total"]), 4),
            **identify(backbone.bundle, backbone.runtime),
            **surroundings(watch, stages["total"]),
            **resources(watch, len(stages["total"])),
        )


def _golden(backbone: Backbone) -> ImageSource:
    bundle = backbone.bundle
    return load_golden_maps(bundle.path / GOLDEN, bundle.checked_parts)[0].picture


def _measure(
    backbone: Backbone, picture: ImageSource, plan: Plan, progress: Progress, stages: dict[str, list[float]]
) -> None:
    plan.start()
    while not plan.enough(len(stages["total"])):
        progress(f"run {len(stages['total']) + 1}")
        preprocess, vision = _once(backbone, picture)
        stages["preprocess"].append(preprocess)
        stages["vision"].append(vision)
        stages["total"].append(preprocess + vision)


def _once(backbone: Backbone, picture: ImageSource) -> tuple[float, float]:
    """Return the milliseconds of preparing a picture, and of its maps."""
    started = time.perf_counter()
    pixels = backbone.pixels(picture)
    prepared = since(started)
    started = time.perf_counter()
    backbone.maps(pixels)
    return prepared, since(started)
