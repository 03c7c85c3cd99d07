"""Numbers and names as reports show them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from f2edge.measuring import statistics
from f2edge.measuring.stages import FEATURES
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from f2edge.reporting.records import Evaluated, Measured, Metric
    from f2edge.reporting.results import Pair

TITLE = "Florence-2 on the edge"
"""The title of a report that has none."""
NOTHING = "\N{EN DASH}"
_SECOND = 1000.0
_GIB = 1024.0
_LARGE, _MIDDLE = 100.0, 10.0
_TITLES = {"map": "mAP", "ap50": "AP50", "cider": "CIDEr", "anls": "ANLS"}
_FIRST = (("<OD>", "map"), ("<CAPTION>", "cider"), ("<OCR_WITH_REGION>", "f1"))
"""The metrics that stand for a bundle in one cell, the best known first."""
_SCALE = 100
"""Metrics are shown in points, as ``f2edge eval`` shows them."""


def milliseconds(value: float | None) -> str:
    """Return a time with its unit, three digits or a little more."""
    if value is None:
        return NOTHING
    return f"{number(value / _SECOND)} s" if value >= _SECOND else f"{number(value)} ms"


def number(value: float | None) -> str:
    """Return a number with about three digits."""
    if value is None:
        return NOTHING
    digits = 0 if abs(value) >= _LARGE else 1 if abs(value) >= _MIDDLE else 2
    return f"{value:,.{digits}f}"


def mebibytes(value: float | None) -> str:
    """Return an amount of memory with its unit."""
    if value is None:
        return NOTHING
    return f"{value / _GIB:.2f} GiB" if value >= _GIB else f"{value:.0f} MiB"


def joules(one: Measured) -> str:
    """Return the energy of an answer with its unit."""
    return NOTHING if one.energy is None else f"{number(one.energy.joules_per_answer)} J"


def precision(one: Measured) -> str:
    """Return the one precision of all components, or that of each."""
    if len(values := set(one.precision.values())) == 1:
        return values.pop()
    return ", ".join(f"{component} {value}" for component, value in one.precision.items()) or NOTHING


def device(one: Measured) -> str:
    """Return what computed: the board, or else the processor, with the engine's device if it is another."""
    machine = one.conditions.board or str(one.device.get("cpu", "unknown processor"))
    engine = str(one.device.get("device", ""))
    return machine if engine in ("CPU", "") else f"{machine}, {engine}"


def name(one: Measured) -> str:
    """Return the name of the bundle; results of early versions have its hash only."""
    return one.bundle or f"bundle {one.bundle_sha256[:8]}"


def task(text: str) -> str:
    """Return the name of a task in small letters, as the command line takes it."""
    return short_name(text) or "question"


def asked(one: Measured) -> str:
    """Return what was asked, and how it was searched; of a backbone the height and width of its picture."""
    if one.task == FEATURES:
        return f"{FEATURES} of {one.image_size[0]}x{one.image_size[1]} pixels"
    beams = "greedy" if one.num_beams == 1 else f"{one.num_beams} beams"
    return f"{task(one.task)}, {one.tokens} tokens, {beams}"


def scenario(one: Measured) -> str:
    """Return the scenario, with what belongs to it."""
    return f"offline, {one.workers} x {one.batch}" if one.scenario == "offline" else one.scenario


def day(one: Measured) -> str:
    """Return the date of a measurement without its time."""
    try:
        return datetime.fromisoformat(one.date).date().isoformat()
    except ValueError:
        return NOTHING


def metric_title(key: str) -> str:
    """Return the name of a metric as papers write it."""
    return _TITLES.get(key, key.replace("_", " "))


def points(metric: Metric) -> str:
    """Return a metric in points, with its interval if it has one."""
    if metric.value is None:
        return NOTHING
    value = f"{_SCALE * metric.value:.1f}"
    if metric.low is None or metric.high is None:
        return value
    return f"{value} [{_SCALE * metric.low:.1f}, {_SCALE * metric.high:.1f}]"


def headline(one: Evaluated) -> tuple[str, float] | None:
    """Return the metric that stands for a bundle in one cell, and its value in points."""
    ordered = [*_FIRST, *((name_, key) for name_, keys in one.metrics.items() for key in keys)]
    for name_, key in ordered:
        metric = _metric(one.metrics, name_, key)
        if metric is not None and metric.value is not None:
            return f"{task(name_)} {metric_title(key)}", _SCALE * metric.value
    return None


def _metric(metrics: Mapping[str, Mapping[str, Metric]], name_: str, key: str) -> Metric | None:
    return metrics.get(name_, {}).get(key)


def verdict(pair: Pair) -> str:
    """Say what a comparison of two bundles found."""
    names, tokens = (name(pair.first), name(pair.second)), (pair.first.tokens, pair.second.tokens)
    few = "there were too few rounds for an interval"
    return statistics.verdict(names, tokens, pair.compared.ratios["total"], pair.compared.level, few)
