"""ONNX files: their weights beside them, each stored once, in half precision where that is asked for."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from f2edge.errors import CompileError
from f2edge.quantize.blocks import replace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_QUANTIZING = ("QuantizeLinear", "DequantizeLinear")  # parsers want their scales constant
_SMALL = 1024  # elements; below that nothing is saved, and scales and shapes live there
_ALIGNMENT = 64


class WeightFile:
    """A file of weights that several graphs refer to; equal bytes are stored once.

    Args:
        path: the file; it is written anew, when the first weight comes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[tuple[str, int], int] = {}
        path.unlink(missing_ok=True)

    def store(self, data: bytes) -> int:
        """The offset of ``data`` in the file, where it is put unless it is there already."""
        key = (hashlib.sha256(data).hexdigest(), len(data))
        if key not in self._offsets:
            with self.path.open("ab") as file:
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                self._offsets[key] = file.tell()
                file.write(data)
        return self._offsets[key]


def save_onnx(model: onnx.ModelProto, path: Path, weights: WeightFile | None = None) -> list[Path]:
    """Write a graph, and its large constants into a file of weights beside it.

    Args:
        model: the graph; its large constants are moved out of it.
        path: the ``.onnx`` to write.
        weights: in the same directory, by default a new ``path`` + ".data" for this graph alone.

    Returns:
        The files: ``path`` and that of the weights.
    """
    weights = weights or WeightFile(path.with_name(f"{path.name}.data"))
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= _SMALL:
            data = tensor.raw_data
            set_external_data(tensor, weights.path.name, weights.store(data), len(data))
            tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString(deterministic=True))
    return [path, weights.path]


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
    scales = {name for node in model.graph.node if node.op_type in _QUANTIZING for name in node.input[1:]}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _SMALL or tensor.name in scales:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half(tensor), f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.widen", to=TensorProto.FLOAT))
    replace(model.graph.node, [*casts, *model.graph.node])


def half(tensor: TensorProto) -> NDArray[np.float16]:
    """The values of a weight in half precision.

    Raises:
        CompileError: one of them is beyond its range.
    """
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    if not np.isfinite(narrow).all():
        raise CompileError(f"weight {tensor.name} does not fit into fp16; compile with --precision fp32")
    return narrow
