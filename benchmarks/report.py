"""The report of a run as JSON and as Markdown tables."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from typing import TYPE_CHECKING, Any

from acceptance import checks
from contenders import ENTRIES
from measuring import step_name
from workload import BEAMS, CASES

from f2edge.machine import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from acceptance import Check
    from rounds import Outcome
    from workload import Workload

_PACKAGES = ("f2edge", "openvino", "onnxruntime", "torch", "transformers", "ctranslate2", "nncf", "numpy")
_OTHER = {
    "gemm_fp32_gflops": "large matrix products in fp32, GFLOP/s",
    "gemm_bf16_gflops": "large matrix products in bf16, GFLOP/s",
    "gemm_int8_gflops": "large matrix products in INT8, GOP/s",
    "read_openvino_gbs": "reading memory by a matrix-vector product of OpenVINO, GB/s",
    "read_numpy_gbs": "reading memory by numpy sums, GB/s",
    "peak_mb": "peak memory of f2edge run, INT8 bundle, MB",
    "process_first_token": "first token of a new process, INT8 bundle, ms",
}
_EXPLAINED = (
    "Times are in milliseconds: the median, with the least and the largest of all rounds in brackets. A caption and "
    "an OD-like answer go from the decoded image to text with 3 beams; all contenders generate the same number of "
    "tokens after the same preprocessing. A step is one decoder step with the search's own work, at the given "
    "position of the answer."
)


def to_json(outcomes: Mapping[str, Outcome], workload: Workload, threads: int, seconds: float) -> dict[str, Any]:
    """Return all samples with the machine, the versions, the workload and the targets, as JSON values."""
    return {
        "machine": {**fingerprint(), "threads": threads},
        "versions": versions(),
        "workload": {**vars(workload), "image_size": list(workload.geometry.image_size)},
        "seconds": round(seconds),
        "contenders": {name: _outcome(outcome) for name, outcome in outcomes.items()},
        "acceptance": [{**vars(check), "met": check.met} for check in checks(outcomes, workload)],
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    installed = {}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def _outcome(outcome: Outcome) -> dict[str, Any]:
    measures = sorted({name for samples in outcome.rounds for name in samples})
    return {
        "failure": outcome.failure,
        **outcome.details,
        "median": {name: median(samples_of(outcome, name)) for name in measures},
        "rounds": [{name: [round(v, 3) for v in values] for name, values in s.items()} for s in outcome.rounds],
    }


def samples_of(outcome: Outcome, measure: str) -> list[float]:
    """Return the samples of a measure of all rounds."""
    return [value for samples in outcome.rounds for value in samples.get(measure, ())]


def to_markdown(outcomes: Mapping[str, Outcome], workload: Workload, report: Mapping[str, Any]) -> str:
    """Write the set-up, the times, the machine's limits and the targets."""
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
        if any(samples_of(outcome, measure) for measure in titles)
    ]
    return table(["contender", *titles.values()], rows)


def _other(outcomes: Mapping[str, Outcome]) -> str:
    rows = [
        [_OTHER.get(measure, measure), _cell(outcomes[name], measure)]
        for name in ("limits", "process")
        if name in outcomes
        for measure in (outcomes[name].rounds or [{}])[0]
    ]
    return table(["machine limits and process", "median (least to largest)"], rows)


def _targets(judged: Sequence[Check]) -> str:
    words = {True: "met", False: "**missed**", None: "not measured"}
    rows = [
        [
            check.what,
            "–" if check.value is None else f"{check.value:.2f} ({check.low:.2f} to {check.high:.2f})",
            f"{'at least' if check.at_least else 'at most'} {check.target:g}",
            words[check.met],
        ]
        for check in judged
    ]
    return table(["target of the INT8 bundle", "measured", "limit", "result"], rows)


def _cell(outcome: Outcome, measure: str) -> str:
    values = samples_of(outcome, measure)
    if not values:
        return "–"
    return f"{_number(median(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def write(directory: Path, name: str, report: Mapping[str, Any], text: str) -> None:
    """Write a report as ``name``.json, and its text as ``name``.md."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (directory / f"{name}.md").write_text(text, encoding="utf-8")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, or an empty string if there are no rows."""
    body = list(rows)
    lines = [titles, ["---"] * len(titles), *body] if body else []
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
