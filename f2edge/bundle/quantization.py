"""The measurements of INT8 from the compilation of a bundle, as the manifest records them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from f2edge.targets import Compute

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ROUNDING = 1e-5
"""Shares that add up to 1, and a divergence of 0, may be off by this much."""


@dataclass(frozen=True)
class Block:
    """A part of a component that is either in INT8 or float, and what was measured with this block alone in INT8.

    Args:
        component: the component that it belongs to.
        name: the name of the block.
        operations: its share of the multiply-accumulates of the whole model, 0 to 1.
        sqnr_db: signal-to-quantization-noise ratio of the outputs of the component, in dB.
        divergence: divergence of the answers, in nats (:mod:`f2edge.quantize.noise`).
        loss: largest loss of a task metric; 0.01 is one per cent.  None if it was not measured.
    """

    component: str
    name: str
    operations: float
    sqnr_db: float
    divergence: float
    loss: float | None = None

    def faults(self) -> Iterator[str]:
        """Say what no measurement gives, each as a short sentence."""
        if not 0 <= self.operations <= 1:
            yield f"operations is {self.operations}, not 0 to 1"
        if not math.isfinite(self.sqnr_db):
            yield f"sqnr_db is {self.sqnr_db}"
        if not -_ROUNDING <= self.divergence < math.inf:
            yield f"divergence is {self.divergence}"
        if not _is_loss(self.loss):
            yield f"loss is {self.loss}"


@dataclass(frozen=True)
class MeasuredMix:
    """One mix of INT8 and float blocks that was tried.

    Args:
        int8_blocks: how many blocks are in INT8.
        compute: what the float blocks compute in.
        milliseconds: of an answer.
        loss: the largest loss of a task metric; None where a faster mix had been chosen before.
        chosen: whether the bundle has this mix.
    """

    int8_blocks: int
    compute: Compute
    milliseconds: float
    loss: float | None
    chosen: bool

    def faults(self, blocks: int) -> Iterator[str]:
        """Say what no measurement gives, each as a short sentence; the bundle has that many ``blocks``."""
        if not 0 <= self.int8_blocks <= blocks:
            yield f"int8_blocks is {self.int8_blocks}, not 0 to {blocks}"
        if not 0 < self.milliseconds < math.inf:
            yield f"milliseconds is {self.milliseconds}"
        if not _is_loss(self.loss) or (self.chosen and self.loss is None):
            yield f"loss is {self.loss}"


@dataclass(frozen=True)
class Quantization:
    """The measurements of INT8.

    Args:
        blocks: each block alone in INT8.
        budget: the largest loss of a task metric that the search for a mix accepted; None if there was no search.
        mixes: all mixes that the search tried, the fastest first.
        int8: (component, block) of those that the chosen mix has in INT8.
    """

    blocks: tuple[Block, ...]
    budget: float | None = None
    mixes: tuple[MeasuredMix, ...] = ()
    int8: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values; without a search the blocks alone."""
        return asdict(self) if self.budget is not None else {"blocks": [asdict(block) for block in self.blocks]}

    def faults(self, components: Collection[str]) -> list[str]:
        """Say what no compilation has recorded, each as a short sentence.

        Args:
            components: the names of the bundle's.
        """
        names = [(block.component, block.name) for block in self.blocks]
        faults = [
            *(
                f"there is no component {name!r:.60}"
                for name in sorted({c for c, _ in [*names, *self.int8]} - {*components})
            ),
            *(f"blocks[{i}]: {fault}" for i, block in enumerate(self.blocks) for fault in block.faults()),
            *(f"mixes[{i}]: {fault}" for i, mix in enumerate(self.mixes) for fault in mix.faults(len(names))),
        ]
        return [*faults, *self._contradictions(names)]

    def _contradictions(self, names: list[tuple[str, str]]) -> Iterator[str]:
        chosen = [mix for mix in self.mixes if mix.chosen]
        if len(set(names)) < len(names):
            yield "two of its blocks have the same name"
        if sum(block.operations for block in self.blocks) > 1 + _ROUNDING:
            yield "its blocks have more than all operations together"
        if not _is_loss(self.budget):
            yield f"budget is {self.budget}"
        if self.budget is None and (self.mixes or self.int8):
            yield "it has mixes, but no budget"
        if self.budget is not None and [mix.int8_blocks for mix in chosen] != [len(self.int8)]:
            yield "not exactly one of its mixes is the chosen one"
        if not set(self.int8) <= set(names) or len(set(self.int8)) < len(self.int8):
            yield "int8 does not list blocks, each once"


def _is_loss(value: float | None) -> bool:
    """Tell whether a loss can have been measured; a metric that improves loses 0."""
    return value is None or 0 <= value < math.inf
