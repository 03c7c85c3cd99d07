"""Rewrite ONNX graphs in four ways that the CPU plugin of OpenVINO runs faster.

The rewritten graphs compute the same; profiling led to them (docs/performance-design.md).
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
    """Convert an ONNX graph to an OpenVINO model.

    Args:
        path: the graph.
        scratch: a directory for a copy of the graph with its weights, which is removed.

    Raises:
        RuntimeError: OpenVINO cannot convert the graph.
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
    """Give the rows (N, C) between a layer norm and a quantizer a leading axis, (1, N, C), in place.

    With channels on the second axis, OpenVINO moves the weights of the norm and the factors of SmoothQuant into the
    quantizer, as a range for each channel.  Its CPU plugin runs such a quantizer in fp32, ten times as slowly as a
    fused one.

    Returns:
        The number of norms that were changed.
    """
    graph, readers = model.graph, _readers(model.graph)
    after: dict[str, onnx.NodeProto] = {}
    for norm in graph.node:
        if norm.op_type == "LayerNormalization" and (ends := _quantized(norm, readers)):
            first, dequantizer = ends
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
    readers: _Readers = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    return readers


def _quantized(norm: onnx.NodeProto, readers: _Readers) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """Return the only reader of a norm, a factor or a quantizer, and the dequantizer behind it, if there are."""
    factor = _only_reader(norm, "Mul", readers)
    quantizer = _only_reader(factor or norm, "QuantizeLinear", readers)
    dequantizer = _only_reader(quantizer, "DequantizeLinear", readers) if quantizer else None
    return (factor or quantizer, dequantizer) if quantizer and dequantizer else None


def _only_reader(node: onnx.NodeProto, kind: str, readers: _Readers) -> onnx.NodeProto | None:
    """Return the only node that reads the output of a node, if it is of this kind."""
    nodes = readers.get(node.output[0], [])
    return nodes[0] if len(nodes) == 1 and nodes[0].op_type == kind else None


def transpose_in_products(model: ov.Model) -> ov.Model:
    """Let the matrix product transpose the queries of a channel attention, in place.

    A separate transposition copies single elements; the kernels of the product read the queries as they lie.
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
    """Let a quantized projection of a window attention return keys as columns, weights times rows, in place.

    Rows times weights return the keys as rows, whose transposition copies single elements.  Float products keep their
    weights on the right.
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
    """Return the product of rows and weights that is split into heads, and the bias between, if there is one."""
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
    """Pass the cross-attention keys from the encoder to the decoder as (1, heads, head_dim, tokens), in place.

    The product with the queries of a few beams reads keys in columns as they lie; keys in rows it copies at every step.
    Graphs of fixed shapes keep rows: their devices lay out tensors themselves.
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
