"""Linear layers whose weights alone are in INT8, and the tables that share their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import helper

from f2edge.compile.onnxruntime.editing import Editor
from f2edge.compile.onnxruntime.integer import MIDDLE, Weight, layer_end, weight_of
from f2edge.quantize.onnx_files import prune, replace

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_BLOCK, _SMALL_BLOCK = 128, 32
"""Weights that share a scale in ONNX Runtime's operator; small blocks are for widths that are no multiple of 128."""
_ACCURACY_LEVEL = 4
"""The products are computed with activations in INT8, a scale for each row and block; other levels are far slower."""
_OFFSET = "offset.u8"


def multiply_by_blocks(model: onnx.ModelProto) -> None:
    """Replace every linear layer with INT8 weights and float activations by ``MatMulNBits``, in place."""
    editor = Editor(model)
    for product in model.graph.node:
        weight = weight_of(product, editor)
        if weight is not None and editor.source(product.input[0], "DequantizeLinear") is None:
            _put_blocks(product, weight, editor)
    _look_up_unsigned(editor)
    prune(model.graph)


def _put_blocks(product: onnx.NodeProto, weight: Weight, editor: Editor) -> None:
    width, outputs = weight.values.shape
    size = _SMALL_BLOCK if width % _BLOCK else _BLOCK
    padded = np.pad(unsigned(weight.values.T), ((0, 0), (0, -width % size)), constant_values=MIDDLE)
    blocks = padded.reshape(outputs, -1, size)
    scales = np.repeat(weight.scales[:, None], blocks.shape[1], axis=1)
    last, bias = layer_end(product, editor)
    inputs = [
        product.input[0],
        editor.add(f"{weight.name}.blocks", blocks),
        editor.add(f"{weight.name}.scales", scales),
    ]
    editor.put(
        last,
        "MatMulNBits",
        [*inputs, "", "", bias] if bias else inputs,
        K=width,
        N=outputs,
        bits=8,
        block_size=size,
        accuracy_level=_ACCURACY_LEVEL,
    )


def unsigned(values: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return INT8 values as u8 with zero point 128."""
    return (values.astype(np.int16) + MIDDLE).astype(np.uint8)


def _look_up_unsigned(editor: Editor) -> None:
    """Let look-ups read INT8 tables as unsigned bytes, those of the head (:mod:`f2edge.quantize.tables`)."""
    after: dict[str, onnx.NodeProto] = {}
    for gather in editor.graph.node:
        table = editor.constant(gather.input[0]) if gather.op_type == "Gather" else None
        if table is not None and table.dtype == np.int8:
            gather.input[0] = editor.add(f"{gather.input[0]}.u8", unsigned(table))
            (cast,) = editor.readers(gather.output[0])
            shifted = cast.output[0]
            cast.output[0] = f"{shifted}.u8"
            offset = editor.add(_OFFSET, np.array(MIDDLE, np.float32))
            after[cast.name] = helper.make_node("Sub", [cast.output[0], offset], [shifted], f"{cast.name}.shift")
    nodes = ([node, after[node.name]] if node.name in after else [node] for node in editor.graph.node)
    replace(editor.graph.node, [each for pair in nodes for each in pair])
