"""Samples on disk that piece after piece of a graph takes over: the inputs of the next piece replace those of the last.

At any time there is one file for each sample, whatever the number of pieces, and one sample is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from f2edge.bundle.writing import whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from f2edge.calibration.recorder import Inputs, Records


@dataclass(frozen=True)
class Relay:
    """The samples of one graph on their way through its pieces.

    Args:
        records: the inputs of the whole graph, which stay as they are.
        component: the component of the graph.
        directory: holds the inputs of later pieces; it may be that of an interrupted run.
    """

    records: Records
    component: str
    directory: Path

    def samples(self, number: int) -> list[Path]:
        """Return the file of every sample's inputs of piece ``number``; not all are there before it is reached."""
        recorded = self.records.samples(self.component)
        return [self.directory / f"{number:03}-{path.name}" for path in recorded] if number else recorded

    def load(self, path: Path) -> Inputs:
        """Read one sample, recorded or of a later piece."""
        return self.records.load(path)

    def advance(self, number: int, run: Callable[[Inputs], Inputs], wanted: Collection[str]) -> None:
        """Turn the samples of piece ``number`` into those of the next; samples that are there are not made again.

        Args:
            number: the number of the piece, from 0.
            run: computes the outputs of the float piece.
            wanted: names of the tensors that later pieces read.
        """
        for old, new in zip(self.samples(number), self.samples(number + 1), strict=True):
            if not new.is_file():
                inputs = self.load(old)
                tensors = inputs | run(inputs)
                with whole_file(new) as partial, partial.open("wb") as file:
                    np.savez(file, **{name: tensors[name] for name in tensors if name in wanted})  # type: ignore[arg-type]
            if number:
                old.unlink(missing_ok=True)
