"""Choose the blocks to quantize: the fastest mix whose answers lose no more than the budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from f2edge.bundle.quantization import Block
    from f2edge.targets import Compute

STEPS = 8
"""Steps from no block to all blocks in INT8; one mix is timed at each."""


@dataclass(frozen=True)
class Mix:
    """A choice of blocks in INT8; the others are float.

    Args:
        quantized: the (component, block) pairs in INT8.
        compute: the type that float operations run in: "fp32", or "bf16" if the CPU supports it.
    """

    quantized: frozenset[tuple[str, str]]
    compute: Compute


@dataclass(frozen=True)
class Measured:
    """A mix, the time of an answer with it in milliseconds, and its loss; None if a faster mix had been chosen."""

    mix: Mix
    milliseconds: float
    loss: float | None = None


def mixes(blocks: Sequence[Block], computes: Iterable[Compute]) -> list[Mix]:
    """List mixes from no block to all blocks in INT8; blocks with the least divergence per operation come first."""
    order = sorted(blocks, key=lambda block: block.divergence / max(block.operations, 1e-9))
    sizes = sorted({round(len(order) * step / STEPS) for step in range(STEPS + 1)})
    names = [(block.component, block.name) for block in order]
    return [Mix(frozenset(names[:size]), compute) for compute in computes for size in sizes]


def choose(
    candidates: Sequence[Mix], time: Callable[[Mix], float], loss: Callable[[Mix], float], budget: float
) -> list[Measured]:
    """Time all mixes; then measure losses, from the fastest mix on, until one is within the budget.

    A looser budget therefore never chooses a slower mix.

    Args:
        candidates: the mixes; the float model, which loses nothing, must be among them.
        time: returns the time of an answer in milliseconds.
        loss: returns the largest loss of a task metric, 0.01 for one per cent.
        budget: the largest loss to accept.

    Returns:
        All mixes, the fastest first; the chosen one is the last that has a loss.
    """
    timed = sorted(((time(mix), mix) for mix in candidates), key=lambda pair: pair[0])
    measured: list[Measured] = []
    chosen = False
    for milliseconds, mix in timed:
        measured.append(Measured(mix, milliseconds, None if chosen else loss(mix)))
        chosen = chosen or (measured[-1].loss or 0.0) <= budget
    return measured
