"""What OpenVINO's CPU plugin makes of a graph depends on how it is written; two ways that it runs faster.

Both compute the same as before, and were found by profiling the vision tower (docs/performance.md).
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

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
    graph, lifted = model.graph, {}
    readers = _readers(graph)
    for norm in graph.node:
        if norm.op_type == "LayerNormalization" and (chain := _until_dequantized(norm, readers)):
            lifted[norm.name], lifted[chain[-1].name] = "Unsqueeze", "Squeeze"
            chain[0].input[0] = f"{norm.output[0]}.lifted"
            chain[-1].output[0] = f"{chain[-1].output[0]}.lifted"
    if lifted:
        graph.initializer.append(numpy_helper.from_array(np.array([0]), _FIRST))
        replace(graph.node, [each for node in graph.node for each in _reshaped(node, lifted.get(node.name))])
        del graph.value_info[:]  # shapes that were
    return len(lifted) // 2


def _readers(graph: onnx.GraphProto) -> dict[str, list[onnx.NodeProto]]:
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found


def _until_dequantized(norm: onnx.NodeProto, readers: dict[str, list[onnx.NodeProto]]) -> list[onnx.NodeProto]:
    """The only readers of a norm, one after the other: a factor, if there is one, a quantizer and a dequantizer."""
    chain: list[onnx.NodeProto] = []
    for kinds in (("Mul", "QuantizeLinear"), ("QuantizeLinear", "DequantizeLinear"), ("DequantizeLinear",)):
        last = chain[-1] if chain else norm
        following = readers.get(last.output[0], [])
        if last.op_type == "DequantizeLinear":
            break
        if len(following) != 1 or following[0].op_type not in kinds:
            return []
        chain += following
    return chain


def _reshaped(node: onnx.NodeProto, shape: str | None) -> list[onnx.NodeProto]:
    """A node, and after it what gives its output a leading axis or takes that away."""
    out = node.output[0]
    if shape == "Unsqueeze":
        return [node, helper.make_node("Unsqueeze", [out, _FIRST], [f"{out}.lifted"], f"{node.name}.lift")]
    if shape == "Squeeze":
        plain = out.removesuffix(".lifted")
        return [node, helper.make_node("Squeeze", [out, _FIRST], [plain], f"{node.name}.drop")]
    return [node]


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
