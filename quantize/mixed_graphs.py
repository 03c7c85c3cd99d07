"""Make, time and run graphs with some blocks in INT8 and the others float, on the machine that compiles."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import onnx

from f2edge.bundle.manifest import COMPONENTS
from f2edge.quantize.blocks import keep_float, quantized_blocks
from f2edge.quantize.onnx_files import save_onnx
from f2edge.runtimes.onnxruntime.runtime import load_graphs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from f2edge.calibration.recorder import Records
    from f2edge.engine import Runtime

REPEATS = 5
"""The least number of times that an answer is timed."""
SECONDS = 1.0
"""The least time that timings take together: those of a small model vary by more than mixes differ."""
STEPS = 20
"""Decoder steps of the answer that is timed."""


@dataclass
class Variants:
    """Graphs of the three components with any choice of blocks in INT8.

    Args:
        exported: the float graphs by component.
        quantized: the same graphs with all blocks in INT8.
        directory: where variants are written.
    """

    exported: Mapping[str, Path]
    quantized: Mapping[str, Path]
    directory: Path
    _blocks: dict[str, list[str]] = field(default_factory=dict)

    def blocks(self, component: str) -> list[str]:
        """List the blocks of a component that can be in INT8."""
        if component not in self._blocks:
            self._blocks[component] = quantized_blocks(onnx.load(self.quantized[component], load_external_data=False))
        return self._blocks[component]

    def graph(self, component: str, quantized: Iterable[str]) -> Path:
        """Return the graph of a component with these blocks in INT8, which is written unless it is there."""
        wanted = set(quantized)
        floats = [name for name in self.blocks(component) if name not in wanted]
        if not floats:
            return self.quantized[component]
        if len(floats) == len(self.blocks(component)):
            return self.exported[component]
        key = hashlib.sha256("\n".join(floats).encode()).hexdigest()[:20]
        path = self.directory / key / f"{component}.onnx"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            source, all_int8 = onnx.load(self.exported[component]), onnx.load(self.quantized[component])
            save_onnx(keep_float(all_int8, source, floats), path)
        return path

    def graphs(self, quantized: Iterable[tuple[str, str]]) -> dict[str, Path]:
        """Return the graphs of all components with these (component, block) pairs in INT8."""
        pairs = set(quantized)
        return {name: self.graph(name, [block for c, block in pairs if c == name]) for name in COMPONENTS}

    def runtime(self, quantized: Iterable[tuple[str, str]]) -> Runtime:
        """Open the graphs with these (component, block) pairs in INT8 in ONNX Runtime.

        Every engine computes the same up to rounding.
        """
        return load_graphs(self.graphs(quantized))


def milliseconds(runtime: Runtime, records: Records) -> float:
    """Time an answer of :data:`STEPS` tokens with three beams, from pixels on; return the median in milliseconds."""
    pixels = records.load(records.file("vision", 0))["pixel_values"]
    prompt = records.load(records.file("encoder", 0))["input_ids"][0]

    def answer() -> None:
        session = runtime.start(runtime.encode_image(pixels), prompt)  # type: ignore[arg-type]
        session.step(np.array([2]), np.zeros(1, np.int64))
        session.step(np.full(3, 5), np.zeros(3, np.int64))
        for _ in range(STEPS - 2):
            session.step(np.full(3, 5), np.arange(3))

    answer()
    taken: list[float] = []
    while len(taken) < REPEATS or sum(taken) < SECONDS * 1e3:
        taken.append(_timed(answer))
    return median(taken)


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3
