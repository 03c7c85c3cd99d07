"""Which blocks to keep in INT8 under a budget: the fastest mix whose answers lose no more than that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

STEPS = 8
"""Mixes between none and all of the blocks."""


@dataclass(frozen=True)
class Block:
    """A part of a component that is in INT8 or float.

    Args:
        component: whose.
        name: of the block.
        operations: its share of all multiply-accumulates of the model, 0 to 1.
        sqnr_db: of the component's output with this block alone in INT8.
        divergence: of the answers with this block alone in INT8 (:mod:`f2edge.quantize.noise`).
        loss: of the task metrics with this block alone in INT8, where they were measured; 0.01 is one per cent.
    """

    component: str
    name: str
    operations: float
    sqnr_db: float
    divergence: float
    loss: float | None = None


@dataclass(frozen=True)
class Mix:
    """Some blocks in INT8, the rest float.

    Args:
        quantized: (component, block) of those in INT8.
        compute: of what is float: "fp32", or "bf16" where the CPU has it.
    """

    quantized: frozenset[tuple[str, str]]
    compute: str


@dataclass(frozen=True)
class Measured:
    """A mix, how long an answer takes with it, and what it loses; None where a faster one was chosen before it."""

    mix: Mix
    milliseconds: float
    loss: float | None = None


def mixes(blocks: Sequence[Block], computes: Iterable[str]) -> list[Mix]:
    """Mixes from no block in INT8 to all, those that cost the answers least for their work first."""
    order = sorted(blocks, key=lambda block: block.divergence / max(block.operations, 1e-9))
    sizes = sorted({round(len(order) * step / STEPS) for step in range(STEPS + 1)})
    names = [(block.component, block.name) for block in order]
    return [Mix(frozenset(names[:size]), compute) for compute in computes for size in sizes]


def choose(
    candidates: Sequence[Mix], time: Callable[[Mix], float], loss: Callable[[Mix], float], budget: float
) -> list[Measured]:
    """Time all mixes, and measure losses from the fastest on until one is within the budget.

    A looser budget therefore never chooses a slower mix.

    Args:
        candidates: with the float model among them, which loses nothing.
        time: milliseconds of an answer.
        loss: of the task metrics, 0.01 for one per cent.
        budget: the largest loss that is accepted.

    Returns:
        All mixes, the fastest first; the chosen one is the last that has a loss.
    """
    timed = sorted(((time(mix), mix) for mix in candidates), key=lambda pair: pair[0])
    found: list[Measured] = []
    chosen = False
    for milliseconds, mix in timed:
        found.append(Measured(mix, milliseconds, None if chosen else loss(mix)))
        chosen = chosen or (found[-1].loss or 0.0) <= budget
    return found
