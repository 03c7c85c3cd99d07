"""The search for the fastest mix under a budget, with made-up times and losses."""

from __future__ import annotations

from itertools import pairwise

from f2edge.bundle.quantization import Block
from f2edge.quantize.search import STEPS, Mix, choose, mixes

BLOCKS = [Block("vision", f"block {n}", operations=0.1, sqnr_db=30.0, divergence=0.01 * n) for n in range(10)]


def milliseconds(mix: Mix) -> float:
    """Return a time in ms: each block in INT8 saves 1 ms, bf16 saves 3 ms."""
    return 100.0 - len(mix.quantized) - 3 * (mix.compute == "bf16")


def loss(mix: Mix) -> float:
    """Return the sum of the blocks' divergence, plus a little for bf16."""
    names = {(block.component, block.name): block.divergence for block in BLOCKS}
    return sum(names[pair] for pair in mix.quantized) / 10 + 0.001 * (mix.compute == "bf16")


def test_the_least_harmful_blocks_come_first() -> None:
    """Every mix contains the one before it; the first has no block in INT8, the last has all."""
    candidates = mixes(list(reversed(BLOCKS)), ["fp32"])
    assert len(candidates) == STEPS + 1
    assert candidates[0].quantized == frozenset()
    assert len(candidates[-1].quantized) == len(BLOCKS)
    assert all(a.quantized < b.quantized for a, b in pairwise(candidates))
    assert ("vision", "block 9") not in candidates[-2].quantized


def test_harm_counts_by_the_work_that_is_saved() -> None:
    """A block that is twice as noisy but does ten times the work goes first."""
    large = Block("encoder", "large", operations=1.0, sqnr_db=30.0, divergence=0.02)
    assert mixes([BLOCKS[1], large], ["fp32"])[1].quantized == {("encoder", "large")}


def test_the_fastest_within_the_budget() -> None:
    """Losses are measured from the fastest mix on, until one is within the budget; a looser budget is never slower."""
    candidates = mixes(BLOCKS, ["fp32", "bf16"])
    chosen = {}
    for budget in (0.0, 0.001, 0.01, 0.05, 1.0):
        measured = choose(candidates, milliseconds, loss, budget)
        assert [one.milliseconds for one in measured] == sorted(one.milliseconds for one in measured)
        evaluated = [one for one in measured if one.loss is not None]
        assert all(one.loss is not None and one.loss > budget for one in evaluated[:-1])
        assert evaluated[-1].loss is not None
        assert evaluated[-1].loss <= budget
        chosen[budget] = evaluated[-1]
    times = [one.milliseconds for one in chosen.values()]
    assert times == sorted(times, reverse=True)
    assert chosen[0.0].mix.quantized <= {("vision", "block 0")}
    assert len(chosen[1.0].mix.quantized) == len(BLOCKS)
