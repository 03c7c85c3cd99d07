"""The search for an answer: one loop for all engines, greedy or with beams."""

from __future__ import annotations

from f2edge.decoding.greedy import stream
from f2edge.decoding.search import Generation, generate

__all__ = ["Generation", "generate", "stream"]
