"""Rewrite look-ups in INT8 tables for TensorRT, which takes an INT8 constant only before a DequantizeLinear."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto, helper

if TYPE_CHECKING:
    import onnx


def look_up_dequantized(graph: onnx.GraphProto) -> None:
    """Dequantize a table before rows are looked up in it, in place: the inverse of f2edge.quantize.tables.

    The engine still keeps the table in INT8.
    """
    tables = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.INT8}
    lookups = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in tables]
    for lookup in lookups:
        _turn_round(graph, lookup)


def _turn_round(graph: onnx.GraphProto, lookup: onnx.NodeProto) -> None:
    """Replace the look-up, conversion and scaling of INT8 rows by a look-up in the dequantized table."""
    (cast,) = _users(graph, lookup.output[0])
    (product,) = _users(graph, cast.output[0])
    makers = {node.output[0]: node for node in graph.node}
    column = makers[next(name for name in product.input if name != cast.output[0])]
    scales = makers[column.input[0]]
    table, wide = lookup.input[0], f"{lookup.output[0]}.table"
    place = list(graph.node).index(product)
    rows = helper.make_node("Gather", [wide, lookup.input[1]], list(product.output), product.name)
    graph.node.insert(place, rows)
    graph.node.insert(place, helper.make_node("DequantizeLinear", [table, scales.input[0]], [wide], wide, axis=0))
    for node in (lookup, cast, scales, column, product):
        graph.node.remove(node)


def _users(graph: onnx.GraphProto, tensor: str) -> list[onnx.NodeProto]:
    return [node for node in graph.node if tensor in node.input]
