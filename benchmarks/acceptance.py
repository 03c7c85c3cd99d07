"""The targets of f2edge's INT8 bundle and the values that a run reached; most are ratios of medians."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from measuring import step_name
from work import encoder_flops, step_bytes, vision_flops
from workload import BEAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rounds import Outcome
    from workload import Workload

OURS = "f2edge-int8"
ENCODER_TOKENS = 590
"""Tokens that the floors assume in the encoder: image and a prompt of usual length, at base size."""

FASTER = {
    "caption": {"torch-fp32": 7.0, "torch-bf16": 3.3, "notebook": 2.0, "onnxruntime-fp32": 2.5},
    "od": {"torch-fp32": 10.0, "torch-bf16": 3.5, "notebook": 2.0},
}
VISION, ENCODER, STEP, BEAM, PEER, SECOND, PEAK_MB = 1.25, 1.5, 1.6, 1.2, 1.0, 0.25, 800.0
START_RATIO, START_MS = 1.5, 1000.0


@dataclass(frozen=True)
class Check:
    """One target and the value that was measured.

    Args:
        what: the target in words, with its unit if it has one.
        value: the value over all rounds; ``None`` if a measure that it needs is missing.
        low: the least value of a single round.
        high: the largest value of a single round.
        target: the limit.
        at_least: ``True`` if the target is a lower limit, ``False`` if it is an upper limit.
    """

    what: str
    value: float | None
    low: float | None
    high: float | None
    target: float
    at_least: bool

    @property
    def met(self) -> bool | None:
        """Whether the target is met; ``None`` if the value was not measured."""
        if self.value is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


class Measured:
    """Medians by contender and measure.

    Args:
        outcomes: what the contenders measured, by name.
        number: the round to take; by default all rounds together.
    """

    def __init__(self, outcomes: Mapping[str, Outcome], number: int | None = None) -> None:
        self._outcomes = outcomes
        self._number = number

    def __call__(self, contender: str, measure: str) -> float:
        """Return the median of a measure in the measure's unit.

        Raises:
            KeyError: the contender did not measure it.
        """
        rounds = self._outcomes[contender].rounds
        chosen = rounds if self._number is None else rounds[self._number : self._number + 1]
        samples = [value for samples in chosen for value in samples[measure]]
        if not samples:
            raise KeyError(contender)
        return median(samples)

    def peak_int8(self) -> float:
        """Return the rate of large INT8 matrix products in operations per millisecond."""
        return self("limits", "gemm_int8_gflops") * 1e6

    def bandwidth(self) -> float:
        """Return the memory bandwidth in bytes per millisecond, by the faster of the two ways to read."""
        return max(self("limits", "read_openvino_gbs"), self("limits", "read_numpy_gbs")) * 1e6


def checks(outcomes: Mapping[str, Outcome], workload: Workload) -> list[Check]:
    """Judge all targets: speed against peers, distance to the floors, decoder steps, then memory and start-up.

    They were set for the base size; there are none for the large one.
    """
    if workload.name == "large":
        return []
    rounds = max((len(outcome.rounds) for outcome in outcomes.values()), default=0)
    return [
        _check(outcomes, rounds, what, value, target, at_least=at_least)
        for what, value, target, at_least in (*_faster(), *_floors(workload), *_steps(workload), *_rest())
    ]


def _check(
    outcomes: Mapping[str, Outcome],
    rounds: int,
    what: str,
    value: Callable[[Measured], float],
    target: float,
    *,
    at_least: bool,
) -> Check:
    try:
        by_round = [value(Measured(outcomes, number)) for number in range(rounds)]
        return Check(what, value(Measured(outcomes)), min(by_round), max(by_round), target, at_least)
    except (KeyError, ValueError):
        return Check(what, None, None, None, target, at_least)


_Row = tuple[str, "Callable[[Measured], float]", float, bool]


def _faster() -> Iterator[_Row]:
    for case, peers in FASTER.items():
        for peer, target in peers.items():
            yield f"{case}: times faster than {peer}", _over(peer, OURS, case), target, True


def _floors(workload: Workload) -> Iterator[_Row]:
    work = {
        "vision": (vision_flops(workload.geometry), VISION),
        "encoder": (encoder_flops(workload.geometry, ENCODER_TOKENS), ENCODER),
    }
    for stage, (flops, target) in work.items():
        yield (
            f"{stage}: time over its INT8 floor",
            lambda m, s=stage, f=flops: m(OURS, s) * m.peak_int8() / f,
            target,
            False,
        )


def _steps(workload: Workload) -> Iterator[_Row]:
    steps = [(beams, position) for position in workload.positions for beams in BEAMS]
    for beams, position in steps:
        name, size = step_name(beams, position), step_bytes(workload.geometry, ENCODER_TOKENS, position, beams)
        where = f"step at {position}, {beams} beam{'s' * (beams > 1)}"
        yield (
            f"{where}: time over its reading floor",
            lambda m, n=name, s=size: m(OURS, n) * m.bandwidth() / s,
            STEP,
            False,
        )
        yield f"{where}: time over ctranslate2", _over(OURS, "ctranslate2", name), PEER, False
    for position in workload.positions:
        one, three = (step_name(beams, position) for beams in BEAMS)
        yield (
            f"step at {position}: time with 3 beams over 1 beam",
            lambda m, a=three, b=one: m(OURS, a) / m(OURS, b),
            BEAM,
            False,
        )


def _rest() -> Iterator[_Row]:
    yield (
        "time of a second question over the first",
        lambda m: m(OURS, "second_question") / m(OURS, "caption"),
        SECOND,
        False,
    )
    yield "peak memory of run, MB", lambda m: m("process", "peak_mb"), PEAK_MB, False
    yield f"time to the first token of a new process over ({START_RATIO} x warm + 1 s)", _start, 1.0, False


def _over(numerator: str, denominator: str, measure: str) -> Callable[[Measured], float]:
    return lambda m: m(numerator, measure) / m(denominator, measure)


def _start(measured: Measured) -> float:
    return measured("process", "process_first_token") / (START_RATIO * measured(OURS, "first_token") + START_MS)
