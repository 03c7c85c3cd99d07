"""A run as JSON and as a Markdown table."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import TYPE_CHECKING, Any

from acceptance import checks
from contenders import ENTRIES
from measuring import CASES, step_name
from workload import BEAMS

from f2edge.machine import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from acceptance import Check
    from rounds import Outcome
    from workload import Workload

_PACKAGES = ("f2edge", "openvino", "onnxruntime", "torch", "transformers", "ctranslate2", "nncf", "numpy")
_EXPLAINED = (
    "Milliseconds: median, and in brackets the least and the largest of all rounds. Answers go from the decoded "
    "picture to text, 3 beams, all with the same number of tokens and the same pre-processing. A step is one decoder "
    "step with the search's own work, at a position of the answer."
)


def to_json(outcomes: Mapping[str, Outcome], workload: Workload, threads: int, seconds: float) -> dict[str, Any]:
    """All samples, what they were taken on and with, and the targets."""
    return {
        "machine": {**fingerprint(), "threads": threads},
        "versions": versions(),
        "workload": {**vars(workload), "image_size": list(workload.geometry.image_size)},
        "seconds": round(seconds),
        "contenders": {name: _outcome(outcome) for name, outcome in outcomes.items()},
        "acceptance": [{**vars(check), "met": check.met} for check in checks(outcomes, workload)],
    }


def versions() -> dict[str, str]:
    """Of the packages that took part, as far as they are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _outcome(outcome: Outcome) -> dict[str, Any]:
    measures = sorted({name for samples in outcome.rounds for name in samples})
    return {
        "failure": outcome.failure,
        **outcome.details,
        "median": {name: median(_all(outcome, name)) for name in measures},
        "rounds": [{name: [round(v, 3) for v in values] for name, values in s.items()} for s in outcome.rounds],
    }


def _all(outcome: Outcome, measure: str) -> list[float]:
    return [value for samples in outcome.rounds for value in samples.get(measure, ())]


def to_markdown(outcomes: Mapping[str, Outcome], workload: Workload, report: Mapping[str, Any]) -> str:
    """What a reader wants first: where it ran, the times, the machine's limits, the targets."""
    machine, used = report["machine"], ", ".join(f"{n} {v}" for n, v in report["versions"].items())
    rounds = max(len(outcome.rounds) for outcome in outcomes.values())
    height, width = workload.geometry.image_size
    head = (
        f"Florence-2-{workload.name}, random weights, {height} x {width}, batch 1, rounds: {rounds}, "
        f"threads: {machine['threads']} of {machine['cpu']}, {report['seconds']} s; {used}."
    )
    tables = [_times(outcomes, workload), _other(outcomes), _targets(checks(outcomes, workload))]
    return "\n\n".join([head, _EXPLAINED, *_failures(outcomes), *filter(None, tables)]) + "\n"


def _failures(outcomes: Mapping[str, Outcome]) -> list[str]:
    return [f"{ENTRIES[n].label}: failed ({o.failure})." for n, o in outcomes.items() if o.failure is not None]


def _times(outcomes: Mapping[str, Outcome], workload: Workload) -> str:
    steps = {step_name(b, p): f"step at {p}, {b} beam{'s' * (b > 1)}" for p in workload.positions for b in BEAMS}
    titles = {case: f"{case}, {workload.tokens(case)} tokens" for case in CASES}
    titles |= {"vision": "vision", "encoder": "encoder", **steps, "second_question": "second question"}
    rows = [
        [ENTRIES[name].label, *(_cell(outcome, measure) for measure in titles)]
        for name, outcome in outcomes.items()
        if any(_all(outcome, measure) for measure in titles)
    ]
    return table(["", *titles.values()], rows)


def _other(outcomes: Mapping[str, Outcome]) -> str:
    rows = [
        [measure, _cell(outcomes[name], measure)]
        for name in ("limits", "process")
        if name in outcomes
        for measure in (outcomes[name].rounds or [{}])[0]
    ]
    return table(["machine and process", ""], rows)


def _targets(found: Sequence[Check]) -> str:
    words = {True: "met", False: "**missed**", None: "not measured"}
    rows = [
        [
            check.what,
            "–" if check.value is None else f"{check.value:.2f} ({check.low:.2f} to {check.high:.2f})",
            f"{'at least' if check.at_least else 'at most'} {check.target:g}",
            words[check.met],
        ]
        for check in found
    ]
    return table(["INT8 bundle", "measured", "target", ""], rows)


def _cell(outcome: Outcome, measure: str) -> str:
    values = _all(outcome, measure)
    if not values:
        return "–"
    return f"{_number(median(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; nothing where there are no rows."""
    body = list(rows)
    lines = [titles, ["---"] * len(titles), *body] if body else []
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
