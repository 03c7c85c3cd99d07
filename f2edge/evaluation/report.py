"""The report of an evaluation, as JSON and as a table."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from f2edge.evaluation.reliability import reliabilities
from f2edge.evaluation.reliability_table import confidence_markdown
from f2edge.evaluation.samples import Note, summary
from f2edge.evaluation.scores import agreement, score
from f2edge.evaluation.statistics import RESAMPLES
from f2edge.evaluation.tables import table
from f2edge.lines import one_line
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from f2edge.evaluation.asking import Run
    from f2edge.evaluation.reliability import Reliability
    from f2edge.evaluation.samples import Dataset
    from f2edge.evaluation.scores import Agreement, Row
    from f2edge.evaluation.statistics import Estimate

_FREE = "question"
_MINUS = "\N{MINUS SIGN}"
_NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Report:
    """Metrics of one or several bundles on one data set.

    Args:
        dataset: the data set.
        runs: the answers, by the name of the bundle.
        rows: the metrics.
        agreements: the agreement of each other bundle with the first.
        num_beams: the beams that were asked for; None for those of each bundle.
        interrupted: whether pictures or bundles are missing, since the user ended the questions.
    """

    dataset: Dataset
    runs: Mapping[str, Run]
    rows: tuple[Row, ...]
    agreements: tuple[Agreement, ...]
    num_beams: int | None
    interrupted: bool = False

    @classmethod
    def of(
        cls, dataset: Dataset, runs: Mapping[str, Run], num_beams: int | None, *, interrupted: bool = False
    ) -> Report:
        """Compute the metrics of all answers."""
        first, *others = runs.values()
        agreements = tuple(agreement(first, other) for other in others)
        return cls(dataset, runs, tuple(score(list(runs.values()))), agreements, num_beams, interrupted)

    @property
    def first(self) -> Run:
        """The answers of the first bundle."""
        return next(iter(self.runs.values()))

    def notes(self) -> list[str]:
        """List the pictures and questions that the numbers leave out, one line each."""
        notes = summary(Note("left out", "picture", name, why) for name, why in self.first.skipped.items())
        for bundle, run in self.runs.items():
            notes += [f"{bundle}: left out {where}: {why}" for where, why in run.refused.items()]
        empty = [row for row in self.rows if math.isnan(row.estimates[0].value)]
        notes += [f"{_title(row)} does not apply: too few pictures, or nothing in them to find" for row in empty]
        return [*map(one_line, notes)]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values; NaN stands for no value."""
        counts = Counter(one.question.task for one in self.first.answers.values())
        return {
            "data": {
                "path": self.dataset.path,
                "kind": self.dataset.kind,
                "pictures": self.first.pictures,
                "skipped": [{"image": name, "reason": why} for name, why in self._skipped().items()],
                "left_out": [note.to_json() for note in self.dataset.notes],
                "questions": dict(counts),
            },
            "num_beams": self.num_beams,
            "interrupted": self.interrupted,
            "interval": {"level": 0.95, "method": "bootstrap over pictures", "resamples": RESAMPLES},
            "bundles": [self._bundle(index, name) for index, name in enumerate(self.runs)],
        }

    def _skipped(self) -> dict[str, str]:
        """Return the pictures that were not asked about, those left out from the start among them."""
        left_out = (note for note in self.dataset.notes if (note.verb, note.thing) == ("left out", "picture"))
        return {note.name: note.reason for note in left_out} | self.first.skipped

    def _bundle(self, index: int, name: str) -> dict[str, Any]:
        metrics: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            metric: dict[str, Any] = {**row.estimates[index].to_json(), "count": row.count}
            if index:
                metric["difference"] = row.differences[index - 1].to_json()
            metrics.setdefault(row.task, {})[row.metric.key] = metric
        run = self.runs[name]
        answers = {"bundle": name, "refused": len(run.refused), "metrics": metrics}
        answers |= {"bundle_sha256": run.bundle_sha256} if run.bundle_sha256 else {}
        answers["confidence"] = [one.to_json() for one in self._reliabilities(name)]
        return answers | ({"agreement": asdict(self.agreements[index - 1])} if index else {})

    def to_markdown(self) -> str:
        """Return a table: a row for each metric, a column for each bundle, and the differences to the first."""
        names = [*map(one_line, self.runs)]
        columns = ["task", "metric", "n", *names, *(f"{name} {_MINUS} {names[0]}" for name in names[1:])]
        rows = [[*_head(row), *map(_value, row.estimates), *map(_difference, row.differences)] for row in self.rows]
        beams = f"num_beams {self.num_beams or 'of the bundle'}"
        about = f"{self.first.pictures} pictures of {self.dataset.path} ({self.dataset.kind}), {beams}."
        scale = "Metrics in points (x 100), 95 % intervals from a bootstrap over the pictures in brackets."
        metrics = table(columns, [*rows, *self._agreed()])
        trust = [confidence_markdown(name, self._reliabilities(name)) for name in self.runs]
        return "\n\n".join([f"{one_line(about)} {scale}", metrics, *filter(None, trust)])

    def _reliabilities(self, name: str) -> list[Reliability]:
        return reliabilities(self.runs[name].answers.values())

    def _agreed(self) -> list[list[str]]:
        """Return the rows of token agreement; the first bundle is the reference."""
        if not self.agreements:
            return []
        count, blank = str(self.agreements[0].questions), [""] * len(self.agreements)
        shares = [f"{100 * agreement.identical:.1f} %" for agreement in self.agreements]
        places = [_NOTHING if a.first_divergence is None else f"{a.first_divergence:g}" for a in self.agreements]
        return [
            ["all", "identical tokens", count, _NOTHING, *shares, *blank],
            ["all", "tokens before the first difference, median", count, _NOTHING, *places, *blank],
        ]


def _head(row: Row) -> list[str]:
    better = "" if row.metric.higher_is_better else " (less is better)"
    return [_task(row), f"{row.metric.title}{better}", str(row.count)]


def _task(row: Row) -> str:
    return short_name(row.task) or _FREE


def _title(row: Row) -> str:
    return f"{_task(row)}, {row.metric.title},"


def _value(estimate: Estimate) -> str:
    return _with_interval(estimate, "")


def _difference(estimate: Estimate) -> str:
    return _with_interval(estimate, "+")


def _with_interval(estimate: Estimate, sign: str) -> str:
    if math.isnan(estimate.value):
        return _NOTHING
    parts = (
        round(100 * part, 1) + 0.0 for part in (estimate.value, estimate.low, estimate.high)
    )  # + 0.0 drops the sign of -0
    value, low, high = (f"{part:{sign}.1f}".replace("-", _MINUS) for part in parts)
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"
