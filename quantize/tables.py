"""Embedding tables in INT8: only the rows that are looked up become float.

The head of the decoder multiplies by the same table that prompts and answers are looked up in.  The table is quantized
once, with a scale for each row, and the encoder uses the same bytes, so that a bundle stores it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from f2edge.quantize.onnx_files import prune, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

SHARED = "model.shared.weight"
_LAST_AXIS = "last_axis"


def look_up_in_int8(graph: onnx.GraphProto) -> None:
    """Replace look-ups in a dequantized table by look-ups in the INT8 table and its scales.

    Otherwise ONNX Runtime dequantizes the whole table at every step: 157 MB at base size.
    """
    tables = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    _look_up(graph, {name: (node.input[0], node.input[1]) for name, node in tables.items()})


def share_table(encoder: onnx.GraphProto, decoder: onnx.GraphProto) -> None:
    """Let the encoder look prompts up in the INT8 table of the decoder, if the decoder has one."""
    names = (f"{SHARED}_quantized", f"{SHARED}_scale")
    tensors = [tensor for tensor in decoder.initializer if tensor.name in names]
    if len(tensors) == len(names):
        encoder.initializer.extend(tensors)
        _look_up(encoder, {SHARED: names})


def _look_up(graph: onnx.GraphProto, tables: Mapping[str, tuple[str, str]]) -> None:
    """Replace look-ups in each named table by look-ups in its (INT8 rows, scales)."""
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), _LAST_AXIS))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        nodes += _rows(node, *table) if table else [node]
    replace(graph.node, nodes)
    prune(graph)


def _rows(gather: onnx.NodeProto, table: str, scales: str) -> list[onnx.NodeProto]:
    """Return nodes that look up rows of ``table`` (rows, width) int8 and multiply each by its scale (rows,) float32."""
    out, ids = gather.output[0], gather.input[1]
    return [
        helper.make_node("Gather", [table, ids], [f"{out}.int8"], f"{gather.name}.int8"),
        helper.make_node("Cast", [f"{out}.int8"], [f"{out}.wide"], f"{gather.name}.wide", to=TensorProto.FLOAT),
        helper.make_node("Gather", [scales, ids], [f"{out}.scale"], f"{gather.name}.scale"),
        helper.make_node("Unsqueeze", [f"{out}.scale", _LAST_AXIS], [f"{out}.column"], f"{gather.name}.column"),
        helper.make_node("Mul", [f"{out}.wide", f"{out}.column"], [out], gather.name),
    ]
