"""Results of a model that wrote given tokens."""

from __future__ import annotations

from dataclasses import replace

from f2edge.decoding import Generation
from f2edge.result import Result
from f2edge.tasks.table import resolve

SIZE = (1000, 1000)
"""(width, height) in pixels of the picture that the results are about."""


def result_of(task: str, *pieces: str, logprob: float = -0.5) -> Result:
    """Return the result of a model that wrote these tokens, one piece each."""
    ids = tuple(range(len(pieces)))
    generation = Generation(ids, (logprob,) * (len(ids) - 1), -0.7, truncated=False)
    return replace(Result.from_generation(resolve(task), pieces, pieces, generation, SIZE), timings_ms={"vision": 1.5})
