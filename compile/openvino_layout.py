"""What OpenVINO's CPU plugin makes of a graph depends on how it is written; two ways that it runs faster.

Both compute the same as before, and were found by profiling the vision tower (docs/performance.md).
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import onnx
import openvino as ov
from onnx import helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_model
from openvino import opset13 as ops

from f2edge.compile.onnx_graph import save_onnx
from f2edge.quantize.blocks import replace

_FIRST = "first_axis"
_SPLIT_HEADS = [0, 2, 1, 3]
_SPLIT_HEADS_AND_TRANSPOSE = [0, 2, 3, 1]


def convert(path: Path, scratch: Path) -> ov.Model:
    """Convert an ONNX graph.

    Args:
        path: of the graph.
        scratch: a directory for a copy with its weights, which is removed.

    Raises:
        RuntimeError: OpenVINO cannot convert it.
    """
    graph = onnx.load(path, load_external_data=False)
    if not lift_quantized_norms(graph):
        return transpose_in_products(ov.convert_model(path))
    with TemporaryDirectory(dir=scratch) as directory:
        load_external_data_for_model(graph, str(path.parent))
        copy, _ = save_onnx(graph, Path(directory) / path.name)
        return transpose_in_products(ov.convert_model(copy))


def lift_quantized_norms(model: onnx.ModelProto) -> int:
    """Give what a layer norm of rows (N, C) hands to a quantizer a leading axis, (1, N, C), in place.

    With channels on the second axis, OpenVINO moves the norm's weights and SmoothQuant's factors into the quantizer, as
    a range for each channel, which its CPU plugin then runs in fp32, and ten times as slowly as what it fuses.

    Returns:
        How many norms were changed.
    """
    graph, readers = model.graph, _readers(model.graph)
    after: dict[str, onnx.NodeProto] = {}
    for norm in graph.node:
        if norm.op_type == "LayerNormalization" and (found := _quantized(norm, readers)):
            first, dequantizer = found
            plain, result = norm.output[0], dequantizer.output[0]
            first.input[0], dequantizer.output[0] = f"{plain}.lifted", f"{result}.lifted"
            after[norm.name] = helper.make_node("Unsqueeze", [plain, _FIRST], [f"{plain}.lifted"], f"{norm.name}.lift")
            drop = helper.make_node("Squeeze", [f"{result}.lifted", _FIRST], [result], f"{dequantizer.name}.drop")
            after[dequantizer.name] = drop
    if after:
        graph.initializer.append(numpy_helper.from_array(np.array([0]), _FIRST))
        nodes = [each for node in graph.node for each in (node, after.get(node.name)) if each is not None]
        replace(graph.node, nodes)
        del graph.value_info[:]  # shapes that were
    return len(after) // 2


_Readers: TypeAlias = "dict[str, list[onnx.NodeProto]]"


def _readers(graph: onnx.GraphProto) -> _Readers:
    found: _Readers = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def _quantized(norm: onnx.NodeProto, readers: _Readers) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """What a norm hands all of its output to, a factor or a quantizer, and the dequantizer in the end."""
    factor = _only_reader(norm, "Mul", readers)
    quantizer = _only_reader(factor or norm, "QuantizeLinear", readers)
    dequantizer = _only_reader(quantizer, "DequantizeLinear", readers) if quantizer else None
    return (factor or quantizer, dequantizer) if quantizer and dequantizer else None


def _only_reader(node: onnx.NodeProto, kind: str, readers: _Readers) -> onnx.NodeProto | None:
    """The one node that reads a node's output, if it is of this kind."""
    found = readers.get(node.output[0], [])
    return found[0] if len(found) == 1 and found[0].op_type == kind else None


def transpose_in_products(model: ov.Model) -> ov.Model:
    """Let the product itself transpose the queries of a channel attention, in place.

    To write them as rows of all positions is a copy of single elements; its kernels read them as they lie.
    """
    for product in model.get_ordered_ops():
        if product.get_type_name() != "MatMul" or product.get_attributes()["transpose_a"]:
            continue
        copy = product.input_value(0).get_node()
        if copy.get_type_name() == "Transpose" and _order(copy) == _SPLIT_HEADS_AND_TRANSPOSE:
            heads = ops.transpose(copy.input_value(0), ops.constant(np.array(_SPLIT_HEADS)))
            transpose_b = product.get_attributes()["transpose_b"]
            faster = ops.matmul(heads, product.input_value(1), transpose_a=True, transpose_b=transpose_b)
            faster.set_friendly_name(product.get_friendly_name())
            product.output(0).replace(faster.output(0))
    return model


def _order(transpose: ov.Node) -> list[int]:
    order = transpose.input_value(1).get_node()
    return order.get_data().ravel().tolist() if order.get_type_name() == "Constant" else []
