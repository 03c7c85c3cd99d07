"""The largest sizes of a question; for an NPU they are the fixed shapes of the graphs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.decoding.settings import MAX_NUM_BEAMS

if TYPE_CHECKING:
    from f2edge.geometry import Geometry

PADDING = -1
"""The token id that pads a prompt to the fixed length; no token has it, so no prompt can contain it."""

LEAST_BEAMS = 3
"""The beams that the golden cases need."""

PROMPT_TOKENS = 128
"""Prompt tokens of fixed shapes: enough for the longest instruction and a paragraph.  Padding costs time, too."""


@dataclass(frozen=True)
class Limits:
    """The largest sizes of a question.  Graphs of fixed shapes pad shorter input, and mask the padding.

    Args:
        num_beams: rows of the decoder.
        prompt_tokens: tokens of the prompt, its begin and end tokens included.
        new_tokens: tokens of the longest answer.
    """

    num_beams: int
    prompt_tokens: int
    new_tokens: int

    def faults(self, geometry: Geometry) -> list[str]:
        """List the limits that a model of these sizes cannot have, each as a short sentence."""
        limits = {
            "num_beams": (LEAST_BEAMS, MAX_NUM_BEAMS),
            "prompt_tokens": (1, geometry.max_prompt_tokens),
            "new_tokens": (1, geometry.decoder_positions),
        }
        values = vars(self)
        return [
            f"{name} is {values[name]}, not {a} to {b}" for name, (a, b) in limits.items() if not a <= values[name] <= b
        ]
