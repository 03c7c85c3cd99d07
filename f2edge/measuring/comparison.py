"""Two bundles measured in turns, so that whatever the machine does it does to both."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from f2edge.measuring.stages import PARTS
from f2edge.measuring.statistics import LEAST_ROUNDS, LEVEL, RESAMPLES, typical_ratio, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from f2edge.measuring.asking import Asking, Plan
    from f2edge.measuring.report import LatencyReport
    from f2edge.measuring.statistics import Ratio
    from f2edge.result import Result

_FIRST, _SECOND = 0, 1
_ORDERS = ((_FIRST, _SECOND, _SECOND, _FIRST), (_SECOND, _FIRST, _FIRST, _SECOND))
"""The turns of even and of odd rounds: each bundle is as often early as late, and as often after the other one."""

COMPARED = (*PARTS, "total")


@dataclass(frozen=True)
class Comparison:
    """The result of :func:`f2edge.bench.compare`.

    Args:
        first: the report of the bundle.
        second: the report of the one that it is compared with.
        ratios: the time of the first divided by that of the second, for each stage: below 1 the first is faster.
        rounds: the number of rounds; in each, each bundle answers twice.
    """

    first: LatencyReport
    second: LatencyReport
    ratios: Mapping[str, Ratio]
    rounds: int

    @property
    def total(self) -> Ratio:
        """The ratio of the whole answers."""
        return self.ratios["total"]

    def to_json(self) -> dict[str, Any]:
        """Return the report of the first bundle, with that of the other one and the ratios beside it."""
        comparison = {
            "ratios": {stage: ratio.to_json() for stage, ratio in self.ratios.items()},
            "rounds": self.rounds,
            "level": LEVEL,
            "resamples": RESAMPLES,
        }
        return {**self.first.to_json(), "against": self.second.to_json(), "comparison": comparison}

    def with_command(self, command: str) -> Comparison:
        """Return the comparison with the command that repeats it in both reports."""
        first, second = (replace(report, command=command) for report in (self.first, self.second))
        return replace(self, first=first, second=second)

    def verdict(self) -> str:
        """Say in one line what was found."""
        names, tokens = (self.first.bundle, self.second.bundle), (self.first.tokens, self.second.tokens)
        few = f"{self.rounds} rounds are too few for an interval, which takes {2 * LEAST_ROUNDS} runs"
        return verdict(names, tokens, self.total, LEVEL, few)


class Turns:
    """The answers of two bundles that take turns."""

    def __init__(self, first: Asking, second: Asking) -> None:
        self._askings = (first, second)
        self.rounds = 0
        self.stages: tuple[dict[str, list[float]], ...] = (defaultdict(list), defaultdict(list))
        self.results: list[Result] = []

    def run(self, plan: Plan, progress: Callable[[str], None]) -> None:
        """Ask both in turns, until each has answered often enough."""
        plan.start()
        while not plan.enough(2 * self.rounds):
            progress(f"round {self.rounds + 1}")
            results = {which: self._ask(which) for which in _ORDERS[self.rounds % 2]}
            self.results = [results[_FIRST], results[_SECOND]]
            self.rounds += 1

    def _ask(self, which: int) -> Result:
        _, result = self._askings[which].once()
        for stage, milliseconds in result.timings_ms.items():
            self.stages[which][stage].append(milliseconds)
        return result

    def ratios(self) -> dict[str, Ratio]:
        """Return the ratio of each stage that both have, and that took time."""
        first, second = ({stage: _rounds(stages[stage]) for stage in COMPARED} for stages in self.stages)
        return {stage: typical_ratio(first[stage], second[stage]) for stage in COMPARED}


def _rounds(samples: list[float]) -> list[list[float]]:
    return [samples[index : index + 2] for index in range(0, len(samples), 2)]
