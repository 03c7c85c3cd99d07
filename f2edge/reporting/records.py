"""The parts of the JSON of ``f2edge bench`` and ``f2edge eval`` that a report shows, with their types.

Fields that a later version added are left out before the rest is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from f2edge.bundle.schema import parse
from f2edge.measuring.statistics import LEAST_RUNS, Ratio

if TYPE_CHECKING:
    from collections.abc import Hashable


@dataclass(frozen=True)
class Energy:
    """What the runs of a measurement took."""

    source: str
    parts: tuple[str, ...]
    watts: float
    joules_per_answer: float


@dataclass(frozen=True)
class Start:
    """What a new process pays until its first answer, in milliseconds."""

    load_ms: float
    first_answer_ms: float
    process_ms: float
    processes: int


@dataclass(frozen=True)
class Starts:
    """Starts with an empty and with a filled cache."""

    cold: Start
    warm: Start


@dataclass(frozen=True)
class Point:
    """A part of a long measurement."""

    seconds: float
    p50_ms: float
    clock_mhz: float | None = None
    hottest_c: float | None = None
    watts: float | None = None


@dataclass(frozen=True)
class State:
    """The state of the machine at one moment."""

    governor: str | None = None
    clock_mhz: float | None = None
    temperatures_c: dict[str, float] = field(default_factory=dict)
    load: float | None = None


@dataclass(frozen=True)
class Surroundings:
    """The state of the machine before, during and after the runs."""

    board: str | None = None
    before: State = field(default_factory=State)
    after: State = field(default_factory=State)
    clock_mhz: float | None = None
    hottest_c: float | None = None


@dataclass(frozen=True)
class Compared:
    """Ratios of the times of two bundles, by stage."""

    ratios: dict[str, Ratio]
    rounds: int
    level: float

    def __post_init__(self) -> None:
        if "total" not in self.ratios:
            raise ValueError("ratios has no total")


@dataclass(frozen=True)
class Measured:
    """The JSON of ``f2edge bench`` about one bundle.

    Those of versions before the scenarios lack the fields with a default.
    """

    bundle_sha256: str
    task: str
    tokens: int
    num_beams: int
    image_size: tuple[int, int]
    runs: int
    stages_ms: dict[str, dict[str, float | None]]
    samples_ms: dict[str, tuple[float, ...]]
    peak_rss_mib: float | None
    threads: int | None
    device: dict[str, str | int]
    versions: dict[str, str]
    bundle: str = ""
    target: str = ""
    precision: dict[str, str] = field(default_factory=dict)
    scenario: str = "single"
    date: str = ""
    answers_per_s: float | None = None
    workers: int = 1
    batch: int = 1
    mean_rss_mib: float | None = None
    energy: Energy | None = None
    starts: Starts | None = None
    curve: tuple[Point, ...] = ()
    conditions: Surroundings = field(default_factory=Surroundings)
    warnings: tuple[str, ...] = ()
    command: str | None = None

    def __post_init__(self) -> None:
        if not self.samples_ms.get("total") or self.stages_ms.get("total", {}).get("p50") is None:
            raise ValueError("there are no times of the stage total")

    def percentile(self, stage: str, rank: int) -> float | None:
        """Return a percentile of a stage in milliseconds; None if there are too few runs, or none of that stage.

        Results of early versions have a 99th percentile of five runs, which is none.
        """
        enough = len(self.samples_ms.get(stage, ())) >= LEAST_RUNS[rank]
        return self.stages_ms.get(stage, {}).get(f"p{rank}") if enough else None

    def statistics(self, stage: str) -> list[float | None]:
        """Return the percentiles, the mean and the standard deviation of a stage in milliseconds."""
        rest = [self.stages_ms[stage].get(name) for name in ("mean", "stdev")]
        return [*(self.percentile(stage, rank) for rank in LEAST_RUNS), *rest]


@dataclass(frozen=True)
class Metric:
    """A metric and its 95 % confidence interval."""

    value: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Evaluated:
    """The metrics of one bundle, by task and key."""

    bundle: str
    metrics: dict[str, dict[str, Metric]]
    bundle_sha256: str = ""


@dataclass(frozen=True)
class Data:
    """The data set of an evaluation."""

    path: str
    kind: str
    pictures: int


@dataclass(frozen=True)
class Evaluation:
    """The JSON of ``f2edge eval``."""

    data: Data
    bundles: tuple[Evaluated, ...]


_hints = cache(get_type_hints)


def read_record(kind: Any, value: Any, where: str) -> Any:
    """Return a record of a JSON value.

    Raises:
        SchemaError: values are of another type or missing; all of them are named.
    """
    return parse(kind, known(kind, value), where)


def known(kind: Any, value: Any) -> Any:
    """Return a JSON value without the fields that its record does not have."""
    record: Hashable = kind
    if is_dataclass(kind) and isinstance(value, dict):
        hints = _hints(record)
        return {name: known(hint, value[name]) for name, hint in hints.items() if name in value}
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and value is not None:
        return known(next(choice for choice in inner if choice is not type(None)), value)
    if origin is tuple and isinstance(value, list):
        return [known(inner[0], item) for item in value]
    if origin is dict and isinstance(value, dict):
        return {name: known(inner[1], item) for name, item in value.items()}
    return value
