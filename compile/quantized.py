"""INT8 graphs: record what flows into the exported ones, then quantize them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.calibration.recorder import Records, record
from f2edge.quantize.ptq import quantize
from f2edge.runtimes.onnxruntime import load_graphs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from f2edge.compile.checkpoint import Checkpoint


def quantized_graphs(
    exported: dict[str, Path],
    pictures: Sequence[Path],
    loaded: Checkpoint,
    progress: Callable[[str], None],
) -> dict[str, Path]:
    """Quantize every exported graph.

    Args:
        exported: the float graphs by component; the INT8 ones go into a directory beside them.
        pictures: what to record on.
        loaded: the checkpoint.
        progress: told of each stage.

    Raises:
        CompileError: NNCF cannot quantize a graph.
    """
    directory = exported["vision"].parent / "int8"
    directory.mkdir()
    records = Records(directory, loaded.model.geometry)
    progress("record")
    record(load_graphs(exported), loaded.tokenizer, records, pictures)
    quantized = {}
    for name, source in exported.items():
        progress(f"quantize {name}")
        quantized[name] = directory / f"{name}.onnx"
        quantize(source, quantized[name], records)
    return quantized
