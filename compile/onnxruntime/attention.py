"""Attention as one operator, which needs no transposed copies of queries, keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from f2edge.compile.onnxruntime.editing import MICROSOFT, Editor, attribute
from f2edge.quantize.onnx_files import prune, replace

if TYPE_CHECKING:
    import onnx

_HEADS_FIRST = [0, 2, 1, 3]
_KEYS_IN_COLUMNS = [0, 2, 3, 1]


def fuse_attention(model: onnx.ModelProto) -> None:
    """Replace attention among tokens by ``com.microsoft.MultiHeadAttention``, in place.

    It stands for softmax(q k^T) v of queries, keys and values (batch, tokens, heads * head_dim) that are split into
    heads here.  Attention among channels, and attention to keys and values from outside the graph, stays as it is.
    """
    editor = Editor(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        nodes += _fused(node, editor) or [node]
    replace(model.graph.node, nodes)
    prune(model.graph)


def _fused(join: onnx.NodeProto, editor: Editor) -> list[onnx.NodeProto] | None:
    """Return the nodes in place of the reshape that joins the heads of an attention."""
    down = editor.chain(join.output[0], ("Reshape", 0), ("Transpose", 0), ("MatMul", 0), ("Softmax", 0), ("MatMul", 0))
    if down is None or attribute(down[1], "perm", []) != _HEADS_FIRST:
        return None
    weighted, scores = down[2], down[4]
    parts = [
        _split(editor, scores.input[0], _HEADS_FIRST),
        _split(editor, scores.input[1], _KEYS_IN_COLUMNS),
        _split(editor, weighted.input[1], _HEADS_FIRST),
    ]
    if any(part is None for part in parts):
        return None
    joined = [_rows(editor, split) for split in parts if split is not None]
    heads = int(editor.constant(parts[0].input[1])[2])  # type: ignore[index,union-attr]
    out = f"{join.output[0]}.attended"
    fused = helper.make_node(
        "MultiHeadAttention",
        [rows.output[0] for rows in joined],
        [out],
        f"{join.name}.attention",
        domain=MICROSOFT,
        num_heads=heads,
        scale=1.0,
    )
    join.input[0] = out
    return [*joined, fused, join]


def _split(editor: Editor, name: str, order: list[int]) -> onnx.NodeProto | None:
    """Return the reshape that splits a tensor into heads, before a transposition of this order."""
    nodes = editor.chain(name, ("Transpose", 0), ("Reshape", 0))
    if nodes is None or attribute(nodes[0], "perm", []) != order or editor.constant(nodes[1].input[1]) is None:
        return None
    return nodes[1]


def _rows(editor: Editor, split: onnx.NodeProto) -> onnx.NodeProto:
    """Return a reshape to (batch, tokens, heads * head_dim) in place of one to (batch, tokens, heads, head_dim)."""
    batch, tokens, heads, width = editor.constant(split.input[1])  # type: ignore[misc]
    shape = editor.add(f"{split.name}.shape", np.array([batch, tokens, heads * width]))
    return helper.make_node("Reshape", [split.input[0], shape], [f"{split.output[0]}.rows"], f"{split.name}.rows")
