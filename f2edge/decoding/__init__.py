"""Search for an answer: greedy or beam search, one loop for all engines."""

from __future__ import annotations

from f2edge.decoding.batch import generate_together
from f2edge.decoding.greedy import stream
from f2edge.decoding.search import Generation, decide, generate

__all__ = ["Generation", "decide", "generate", "generate_together", "stream"]
