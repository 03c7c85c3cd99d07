"""The work that every contender does: model size, tasks, answer lengths, and positions of the timed decoder steps."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2edge.geometry import Geometry

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # random checkpoints and the published sizes are made in tests.support

BEAMS = (1, 3)
"""Beam counts at which decoder steps are timed."""
CASES = ("caption", "od")
"""Tasks whose whole answers are timed."""
AROUND = 4
"""The time of a step at position p is the median over the steps from p - 4 to p + 4."""


@dataclass(frozen=True)
class Workload:
    """One model size with the lengths of its answers.

    Args:
        name: name of the geometry: "base", "large" or "tiny".
        caption_tokens: tokens of a caption, generated with 3 beams.
        od_tokens: tokens of an answer as long as a typical object detection, generated with 3 beams.
        positions: positions in the answer (tokens before it) at which single decoder steps are timed.
    """

    name: str
    caption_tokens: int
    od_tokens: int
    positions: tuple[int, int]

    @property
    def geometry(self) -> Geometry:
        """The model's sizes; "tiny" gets equal position tables, since transformers has one number for both."""
        from tests.support.checkpoints import TINY
        from tests.support.geometries import BASE, LARGE

        tiny = replace(TINY, decoder_positions=TINY.encoder_positions)
        return {"base": BASE, "large": LARGE, "tiny": tiny}[self.name]

    def tokens(self, case: str) -> int:
        """Return the number of tokens of the answer in a case of :data:`CASES`."""
        return {"caption": self.caption_tokens, "od": self.od_tokens}[case]


WORKLOADS = {
    "base": Workload("base", caption_tokens=32, od_tokens=128, positions=(16, 256)),
    "large": Workload("large", caption_tokens=32, od_tokens=128, positions=(16, 256)),
    "tiny": Workload("tiny", caption_tokens=6, od_tokens=12, positions=(8, 20)),
}
"""``tiny`` only proves that the harness works; its timings say nothing about Florence-2."""
