"""The fixed sizes of a bundle for a device that takes no others, as an NPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.decoding.settings import MAX_NUM_BEAMS

if TYPE_CHECKING:
    from f2edge.geometry import Geometry

PADDING = -1
"""Stands behind a prompt that is shorter than the graphs take; no token has this id, so nobody can write it."""

LEAST_BEAMS = 3
"""The golden cases search with as many."""

PROMPT_TOKENS = 128
"""Room for the longest instruction and a paragraph; each token costs the encoder time, be it padding or not."""


@dataclass(frozen=True)
class Limits:
    """What the graphs of a bundle have room for; what is shorter is padded, and the padding is masked.

    Args:
        num_beams: rows of the decoder.
        prompt_tokens: of the encoder's prompt, its begin and end included.
        new_tokens: of the decoder's self-attention, that is, of the longest answer.
    """

    num_beams: int
    prompt_tokens: int
    new_tokens: int

    def faults(self, geometry: Geometry) -> list[str]:
        """What a model of these sizes cannot have, each as a short sentence."""
        limits = {
            "num_beams": (LEAST_BEAMS, MAX_NUM_BEAMS),
            "prompt_tokens": (1, geometry.max_prompt_tokens),
            "new_tokens": (1, geometry.decoder_positions),
        }
        values = vars(self)
        return [
            f"{name} is {values[name]}, not {a} to {b}" for name, (a, b) in limits.items() if not a <= values[name] <= b
        ]
