"""What OpenVINO's CPU plugin makes of a graph depends on how it is written; four ways that it runs faster.

All compute the same as before, and were found by profiling (docs/performance.md).
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import onnx
import openvino as ov
from onnx import helper, numpy_helper
from onnx.external_data_helper import load_external_data_for_model
from openvino import opset13 as ops

from f2edge.quantize.onnx_files import replace, save_onnx

_FIRST = "first_axis"
_SPLIT_HEADS = [0, 2, 1, 3]
_SPLIT_HEADS_AND_TRANSPOSE = [0, 2, 3, 1]
_TRANSPOSE = [0, 1, 3, 2]
_KEYS = re.compile(r"cross\.\d+\.key")


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
        return _laid_out(ov.convert_model(path))
    with TemporaryDirectory(dir=scratch) as directory:
        load_external_data_for_model(graph, str(path.parent))
        copy, _ = save_onnx(graph, Path(directory) / path.name)
        return _laid_out(ov.convert_model(copy))


def _laid_out(model: ov.Model) -> ov.Model:
    return keys_in_columns(project_to_columns(transpose_in_products(model)))


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


def project_to_columns(model: ov.Model) -> ov.Model:
    """Let a quantized projection give a window attention's keys as columns, weights times rows, in place.

    As rows times weights they come as rows, and to transpose those is a copy of single elements.  Float products want
    their weights on the right.
    """
    for copy in model.get_ordered_ops():
        if copy.get_type_name() != "Transpose" or copy.get_output_partial_shape(0).is_dynamic:
            continue
        if _order(copy) == _SPLIT_HEADS_AND_TRANSPOSE:
            product, bias = _projection(copy.input_value(0).get_node())
            if product is not None and product.input_value(0).get_node().get_type_name() == "FakeQuantize":
                copy.output(0).replace(_in_columns(product, bias, list(copy.get_output_shape(0))))
    return model


def _projection(split: ov.Node) -> tuple[ov.Node | None, ov.Output | None]:
    """The product of rows and weights that is split into heads, and the bias between, if there is one."""
    if split.get_type_name() != "Reshape":
        return None, None
    node, bias = split.input_value(0).get_node(), None
    if node.get_type_name() == "Add":
        node, bias = node.input_value(0).get_node(), node.input_value(1)
    return (node if node.get_type_name() == "MatMul" else None), bias


def _in_columns(product: ov.Node, bias: ov.Output | None, shape: list[int]) -> ov.Output:
    windows, _, _, tokens = shape
    rows = ops.reshape(product.input_value(0), ops.constant(np.array([windows, tokens, -1])), special_zero=False)
    left = not product.get_attributes()["transpose_b"]
    columns = ops.matmul(product.input_value(1), rows, transpose_a=left, transpose_b=True)
    columns.set_friendly_name(product.get_friendly_name())
    if bias is not None:
        columns = ops.add(columns, ops.reshape(bias, ops.constant(np.array([-1, 1])), special_zero=False))
    return ops.reshape(columns, ops.constant(np.array(shape)), special_zero=False).output(0)


def keys_in_columns(model: ov.Model) -> ov.Model:
    """Hand the cross-attention's keys from the encoder to the decoder as (1, heads, head_dim, tokens), in place.

    The product of a few beams' queries reads keys in columns as they lie; of rows it makes such a copy at every step.
    Graphs of fixed shapes keep them: the devices that they are for lay out their tensors themselves.
    """
    for port in filter(_is_for_keys, model.outputs):
        _give_columns(port.get_node())
    for port in filter(_is_for_keys, model.inputs):
        _take_columns(port.get_node())
    model.validate_nodes_and_infer_types()
    return model


def _is_for_keys(port: ov.Output) -> bool:
    return bool(_KEYS.fullmatch(port.get_any_name())) and port.get_partial_shape().is_dynamic


def _give_columns(result: ov.Node) -> None:
    rows = result.input_value(0)
    node, names = rows.get_node(), rows.get_names()
    split = node.get_type_name() == "Transpose" and _order(node) == _SPLIT_HEADS
    order, source = (_SPLIT_HEADS_AND_TRANSPOSE, node.input_value(0)) if split else (_TRANSPOSE, rows)
    columns = ops.transpose(source, ops.constant(np.array(order)))
    columns.set_friendly_name(node.get_friendly_name())
    rows.set_names(set())
    columns.output(0).set_names(names)
    result.input(0).replace_source_output(columns.output(0))


def _take_columns(keys: ov.Node) -> None:
    batch, heads, tokens, width = keys.get_partial_shape()
    readers = list(keys.output(0).get_target_inputs())
    keys.set_partial_shape(ov.PartialShape([batch, heads, width, tokens]))
    rows = ops.transpose(keys, ops.constant(np.array(_TRANSPOSE)))
    for reader in readers:
        product = reader.get_node()
        if product.get_type_name() == "MatMul" and product.get_attributes()["transpose_b"] and reader.get_index() == 1:
            transpose_a = product.get_attributes()["transpose_a"]
            straight = ops.matmul(product.input_value(0), keys, transpose_a=transpose_a, transpose_b=False)
            straight.set_friendly_name(product.get_friendly_name())
            product.output(0).replace(straight.output(0))
        else:
            reader.replace_source_output(rows.output(0))


def _order(transpose: ov.Node) -> list[int]:
    order = transpose.input_value(1).get_node()
    return order.get_data().ravel().tolist() if order.get_type_name() == "Constant" else []
