"""What every contender is asked: the size of the model, the picture, the numbers of tokens, the positions."""

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
TASKS = {"caption": "caption", "od": "od"}
AROUND = 4
"""A step at position p is the median of those from p - 4 to p + 4."""


@dataclass(frozen=True)
class Workload:
    """One size of the model and how long the answers are.

    Args:
        name: of the geometry.
        caption_tokens: of a caption, generated with 3 beams.
        od_tokens: of an answer as long as object detection gives, with 3 beams.
        positions: where single decoder steps are timed.
    """

    name: str
    caption_tokens: int
    od_tokens: int
    positions: tuple[int, int]

    @property
    def geometry(self) -> Geometry:
        """The model's sizes; both of transformers' tables of positions are one number, so it is made so here."""
        from tests.support.checkpoints import TINY
        from tests.support.geometries import BASE, LARGE

        tiny = replace(TINY, decoder_positions=TINY.encoder_positions)
        return {"base": BASE, "large": LARGE, "tiny": tiny}[self.name]

    def tokens(self, case: str) -> int:
        """Tokens of the answer in a case: "caption" or "od"."""
        return {"caption": self.caption_tokens, "od": self.od_tokens}[case]


WORKLOADS = {
    "base": Workload("base", caption_tokens=32, od_tokens=128, positions=(16, 256)),
    "large": Workload("large", caption_tokens=32, od_tokens=128, positions=(16, 256)),
    "tiny": Workload("tiny", caption_tokens=6, od_tokens=12, positions=(8, 20)),
}
"""``tiny`` proves that the harness works, and measures nothing of interest."""
