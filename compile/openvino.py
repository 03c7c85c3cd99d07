"""From the ONNX graphs to OpenVINO IR; the decoder's keys and values become state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openvino as ov

from f2edge.compile.stateful import make_stateful
from f2edge.errors import CompileError

if TYPE_CHECKING:
    from pathlib import Path


def compile_openvino(onnx: Path, destination: Path, *, decoder_layers: int, fp16: bool) -> list[Path]:
    """Convert one graph to IR.

    Args:
        onnx: the graph; the file's stem is the component's name.
        destination: the ``.xml`` to write; the weights go beside it.
        decoder_layers: layers of the model's decoder.
        fp16: store the weights in half precision.

    Returns:
        The files written, the ``.xml`` first.

    Raises:
        CompileError: OpenVINO cannot convert the graph, or cannot write it.
    """
    try:
        model = ov.convert_model(onnx)
        if onnx.stem == "decoder":
            make_stateful(model, decoder_layers)
    except RuntimeError as error:
        raise CompileError(f"OpenVINO cannot convert the {onnx.stem} graph: {_last_line(error)}") from error
    try:
        ov.save_model(model, destination, compress_to_fp16=fp16)
    except RuntimeError as error:
        raise CompileError(
            f"OpenVINO cannot write {destination.name} ({_last_line(error)}); see whether the disk is full"
        ) from error
    return [destination, destination.with_suffix(".bin")]


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
