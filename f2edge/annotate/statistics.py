"""Count what a run has made, in the form of the paper's table."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from f2edge.annotate.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from f2edge.annotate.description import Description

MOST_NAMED = 100
"""Pictures that cannot be read and are named in the statistics; the records name all of them."""
_KEY = ("kind", "task", "source")


@dataclass
class Row:
    """What was made by one task; of phrases, for the texts of one task.

    Args:
        kind: "text", "region" or "phrase".
        task: the short name of the task.
        source: the task of the texts that phrases are of; "" otherwise.
        images: pictures with at least one annotation that is kept.
        annotations: texts, regions or phrases that are kept.
        tokens: of all kept texts, or of all labels of kept regions and phrases.
        dropped: how many were dropped, by the reason.
        unseen: kept phrases at whose place task "od" has no object.
        passes: how many of those that are kept each pass has made, by its number.
        lengths: how many of those that are kept have each number of tokens.
        counts: how many pictures have each number of annotations that are kept; those without any are left out.
    """

    kind: str
    task: str
    source: str = ""
    images: int = 0
    annotations: int = 0
    tokens: int = 0
    unseen: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    passes: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    counts: Counter[int] = field(default_factory=Counter)

    @property
    def mean_tokens(self) -> float | None:
        """Tokens of a kept text, or of the label of a kept region or phrase; None if there is none."""
        return self.tokens / self.annotations if self.annotations else None

    @property
    def mean_annotations(self) -> float | None:
        """Kept annotations of a picture that has any; None if there is none."""
        return self.annotations / self.images if self.images else None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        means = {"mean_tokens": self.mean_tokens, "mean_annotations": self.mean_annotations}
        spread = {"lengths": _by_number(self.lengths), "counts": _by_number(self.counts)}
        return {**asdict(self), "dropped": dict(self.dropped), "passes": dict(self.passes), **spread, **means}


def _by_number(counts: Counter[int]) -> dict[str, int]:
    return {str(number): counts[number] for number in sorted(counts)}


@dataclass(frozen=True)
class Statistics:
    """What a run has made.

    Args:
        pictures: all pictures of the run.
        unreadable: how many of them cannot be read.
        named: the first ones that cannot be read, with the reason.
        rows: what each task has made.
        complexity: what objects and relations of texts were counted with.
        passed: the number of the pass.
    """

    pictures: int
    unreadable: int
    named: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    complexity: str
    passed: int

    def to_json(self) -> dict[str, Any]:
        """Return them as JSON values."""
        named = [{"image": image, "reason": reason} for image, reason in self.named]
        counts = {"pictures": self.pictures, "unreadable": self.unreadable, "unreadable_pictures": named}
        rest = {"complexity": self.complexity, "pass": self.passed}
        return {**counts, **rest, "annotations": [row.to_json() for row in self.rows]}


def count(paths: Iterable[Path], description: Description) -> Statistics:
    """Count the records of shards; one shard is in memory at a time.

    Raises:
        AnnotationError: a shard is damaged.
    """
    rows: dict[tuple[str, str, str], Row] = {}
    pictures, lost, named = 0, 0, list[tuple[str, str]]()
    for path in paths:
        table = read_table(path, [*_KEY, "image", "tokens", "kept", "reason", "detail", "seen", "pass"])
        of_pictures = table.filter(pc.equal(table["kind"], "picture"))
        unreadable = of_pictures.filter(pc.invert(of_pictures["kept"]))
        pictures, lost = pictures + len(of_pictures), lost + len(unreadable)
        if len(named) < MOST_NAMED:
            named += [(one["image"], one["detail"]) for one in unreadable.to_pylist()]
        _add(rows, table.filter(pc.not_equal(table["kind"], "picture")))
    ordered = _in_order(rows, description.tasks)
    complexity = str(description.settings.get("complexity", "none"))
    return Statistics(pictures, lost, tuple(named[:MOST_NAMED]), ordered, complexity, description.passed)


def _in_order(rows: dict[tuple[str, str, str], Row], tasks: Sequence[str]) -> tuple[Row, ...]:
    place = defaultdict(lambda: len(tasks), {task: index for index, task in enumerate(tasks)})
    return tuple(sorted(rows.values(), key=lambda row: (place[row.task], row.task, place[row.source], row.source)))


def _add(rows: dict[tuple[str, str, str], Row], table: Any) -> None:
    """Add the counts of a shard's annotations."""
    for one in _grouped(table, (*_KEY, "kept", "reason", "pass")):
        row = rows.setdefault(_key(one), Row(*_key(one)))
        if one["kept"]:
            row.annotations += one["image_count"]
            row.tokens += one["tokens_sum"]
            row.passes[str(one["pass"])] += one["image_count"]
        else:
            row.dropped[one["reason"]] += one["image_count"]
    kept = table.filter(table["kept"])
    for one in _grouped(kept, (*_KEY, "image")):
        row = rows[_key(one)]
        row.images += 1
        row.counts[one["image_count"]] += 1
    for one in _grouped(kept, (*_KEY, "tokens")):
        rows[_key(one)].lengths[one["tokens"]] += one["image_count"]
    for one in _grouped(kept.filter(pc.fill_null(pc.invert(kept["seen"]), pa.scalar(value=False))), _KEY):
        rows[_key(one)].unseen += one["image_count"]


def _grouped(table: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    sums = [("image", "count"), ("tokens", "sum")]
    groups: list[dict[str, Any]] = table.group_by(list(names)).aggregate(sums).to_pylist()
    return groups


def _key(one: dict[str, Any]) -> tuple[str, str, str]:
    return one["kind"], one["task"], one["source"]
