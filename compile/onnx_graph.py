"""Write a graph for ONNX Runtime, its weights in half precision if asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from f2edge.quantize.onnx_files import QUANTIZING, SMALL, half, replace, save_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.quantize.onnx_files import WeightFile


def compile_onnx(source: Path, destination: Path, weights: WeightFile, *, fp16: bool) -> list[Path]:
    """Write one graph for ONNX Runtime.

    Args:
        source: the exported graph.
        destination: the ``.onnx`` to write.
        weights: where its weights go.
        fp16: store large weights in half precision and widen them when the graph is loaded; what is computed
            stays fp32, since CPUs gain nothing from half precision there.

    Returns:
        The files written, the ``.onnx`` first.

    Raises:
        CompileError: a weight does not fit into fp16.
    """
    model = onnx.load(source)
    if fp16:
        _store_weights_in_half(model)
    return save_onnx(model, destination, weights)


def _store_weights_in_half(model: onnx.ModelProto) -> None:
    casts = []
    scales = {name for node in model.graph.node if node.op_type in QUANTIZING for name in node.input[1:]}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL or tensor.name in scales:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half(tensor), f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.widen", to=TensorProto.FLOAT))
    replace(model.graph.node, [*casts, *model.graph.node])
