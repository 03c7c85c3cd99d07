"""The measurements of INT8 from the compilation of a bundle, as the manifest records them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from f2edge.targets import Compute

if TYPE_CHECKING:
    from collections.abc import Collection


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
        named = {block.component for block in self.blocks} | {component for component, _ in self.int8}
        faults = [f"there is no component {name!r:.60}" for name in sorted(named - set(components))]
        chosen = [mix for mix in self.mixes if mix.chosen]
        if self.budget is None and (self.mixes or self.int8):
            faults.append("it has mixes, but no budget")
        if self.budget is not None and [mix.int8_blocks for mix in chosen] != [len(self.int8)]:
            faults.append("not exactly one of its mixes is the chosen one")
        return faults
