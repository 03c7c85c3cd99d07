"""Emulate fp16 graphs on a CPU: compute in fp32, and round every result to fp16.

The CPU kernels of ONNX Runtime compute fp16 graphs in fp32 and leave out the conversions between, which hides both
rounding and overflow.  The emulation shows both, and rounds more often than the fused kernels of a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from f2edge.quantize.onnx_files import save_onnx

if TYPE_CHECKING:
    from pathlib import Path

_MOVING = {"Transpose", "Reshape", "Gather", "Slice", "Squeeze", "Unsqueeze", "Concat", "Split", "Pad"}
"""Operators that only move values, which need no rounding."""


def to_rounded(source: Path, destination: Path) -> list[Path]:
    """Write an fp32 graph that rounds the result of every node as an fp16 graph does.

    Args:
        source: a graph in half precision (:mod:`f2edge.compile.tensorrt.half`), or in fp32, which is left as it is.
        destination: the ``.onnx`` to write; the weights go beside it.

    Returns:
        The files written, the ``.onnx`` first.
    """
    model = onnx.load(source)
    narrow = _narrow_tensors(source)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        if value.name in narrow:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    nodes = [each for node in model.graph.node for each in _rounding(node, narrow)]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return save_onnx(model, destination)


def _narrow_tensors(source: Path) -> set[str]:
    graph = shape_inference.infer_shapes(onnx.load(source, load_external_data=False)).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT16}


def _rounding(node: onnx.NodeProto, narrow: set[str]) -> list[onnx.NodeProto]:
    """Return a node in fp32, and the conversions that round its result."""
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
    if node.op_type in _MOVING or node.output[0] not in narrow:
        return [node]
    (name,) = node.output
    node.output[0] = f"{name}.exact"
    return [
        node,
        helper.make_node("Cast", [f"{name}.exact"], [f"{name}.rounded"], f"{name}.round", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [f"{name}.rounded"], [name], f"{name}.back", to=TensorProto.FLOAT),
    ]
