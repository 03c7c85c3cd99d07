"""ONNX files of a bundle: copied as they are, or with their weights stored in half precision."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from f2edge.errors import CompileError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")  # parsers want their scales constant
_SMALL = 1024  # elements; below that nothing is saved, and scales and shapes live there


def compile_onnx(source: Path, destination: Path, *, fp16: bool) -> list[Path]:
    """Write one graph for ONNX Runtime.

    Args:
        source: the exported graph.
        destination: the ``.onnx`` to write; the weights go beside it.
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
    data = destination.name + ".data"
    onnx.save(model, destination, save_as_external_data=True, location=data, size_threshold=1024)
    shutil.copymode(destination, destination.with_name(data))  # onnx writes it for its owner alone
    return [destination, destination.with_name(data)]


def _store_weights_in_half(model: onnx.ModelProto) -> None:
    casts = []
    scales = {name for node in model.graph.node if node.op_type in _QUANTIZING for name in node.input[1:]}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _SMALL or tensor.name in scales:
            continue
        name = tensor.name
        half = _half(tensor)
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.widen", to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])


def _half(tensor: TensorProto) -> NDArray[np.float16]:
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise CompileError(f"weight {tensor.name} does not fit into fp16; compile with --precision fp32")
    return half
