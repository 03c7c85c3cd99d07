"""Convolutions in INT8, as products of integers.

ONNX Runtime has no kernel for a convolution of quantized activations with a result in float: it would compute it in
float, and dequantize the weights each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from onnx import helper

from f2edge.compile.onnxruntime.editing import CHANNELS_FIRST, CHANNELS_LAST, MICROSOFT, Editor, attribute
from f2edge.compile.onnxruntime.integer import MIDDLE, integer_inputs
from f2edge.quantize.onnx_files import prune, replace

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Convolution(NamedTuple):
    """A convolution of a map with channels last.

    Args:
        node: the convolution.
        transposed: the transposition that puts the channels of its result last.
        activations: the dequantizer of the map.
        shape: of the map, (1, height, width, channels).
        map: the quantized map with channels last.
        weights: (outputs, channels, kernel height, kernel width), int8.
        scales: (outputs,).
    """

    node: onnx.NodeProto
    transposed: onnx.NodeProto
    activations: onnx.NodeProto
    shape: NDArray[np.int64]
    map: str
    weights: NDArray[np.int8]
    scales: NDArray[np.float32]


def multiply_convolutions(model: onnx.ModelProto) -> None:
    """Replace every convolution of one quantized map by a product of its patches with the weights, in place."""
    editor = Editor(model)
    found = {c.transposed.name: c for node in model.graph.node if (c := _convolution(node, editor)) is not None}
    nodes = (_product(found[node.name], editor) if node.name in found else [node] for node in model.graph.node)
    replace(model.graph.node, [each for group in nodes for each in group])
    prune(model.graph)


def _convolution(node: onnx.NodeProto, editor: Editor) -> _Convolution | None:
    if node.op_type != "Conv" or attribute(node, "group", 1) != 1 or set(attribute(node, "dilations", [1])) != {1}:
        return None
    last = editor.only_reader(node.output[0], "Transpose")
    before = editor.chain(node.input[0], ("DequantizeLinear", 0), ("Transpose", 0), ("Reshape", 0))
    dequantizer = editor.source(node.input[1], "DequantizeLinear")
    if last is None or before is None or dequantizer is None:
        return None
    activations, first, split = before
    shape = editor.constant(split.input[1])
    weights, scales = (editor.constant(name) for name in dequantizer.input[:2])
    orders = [attribute(each, "perm", []) for each in (first, last)]
    if shape is None or shape[0] != 1 or weights is None or orders != [CHANNELS_FIRST, CHANNELS_LAST]:
        return None
    if scales is None or scales.shape != weights.shape[:1]:
        return None
    return _Convolution(node, last, activations, shape, split.output[0], weights, scales)


def _product(convolution: _Convolution, editor: Editor) -> list[onnx.NodeProto]:
    """Return a look-up of the patches, and their product with the weights, whose shape is that of the result."""
    node, activations, weights = convolution.node, convolution.activations, convolution.weights
    out, channels = convolution.transposed.output[0], weights.shape[1]
    positions, (height, width) = _patches(node, convolution.shape, weights.shape[2:])

    def constant(name: str, value: NDArray[np.generic]) -> str:
        return editor.add(f"{out}.{name}", value)

    columns = np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(-1, len(weights)))
    inputs = integer_inputs(
        editor,
        f"{out}.patches",
        activations,
        constant("weights", columns),
        constant("scales", convolution.scales),
        *node.input[2:],
    )
    return [
        helper.make_node("Reshape", [convolution.map, constant("rows", np.array([-1, channels]))], [f"{out}.map"]),
        helper.make_node(
            "Concat",
            [f"{out}.map", constant("padding", np.full((1, channels), MIDDLE, np.uint8))],
            [f"{out}.all"],
            axis=0,
        ),
        helper.make_node("Gather", [f"{out}.all", constant("positions", positions)], [f"{out}.windows"], axis=0),
        helper.make_node(
            "Reshape", [f"{out}.windows", constant("size", np.array([-1, len(columns)]))], [f"{out}.patches"]
        ),
        helper.make_node("MatMulIntegerToFloat", inputs, [f"{out}.product"], node.name, domain=MICROSOFT),
        helper.make_node(
            "Reshape", [f"{out}.product", constant("shape", np.array([1, height, width, len(weights)]))], [out]
        ),
    ]


def _patches(
    node: onnx.NodeProto, shape: NDArray[np.int64], kernel: tuple[int, ...]
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Return the rows of the map below each place of the kernel, (outputs, kernel size), and the size of the result.

    Rows are numbered line by line; the number after the last stands for the padding.
    """
    _, height, width, _ = map(int, shape)
    top, left, bottom, right = attribute(node, "pads", [0] * 4)
    down, across = attribute(node, "strides", [1, 1])
    rows = np.full((top + height + bottom, left + width + right), height * width)
    rows[top : top + height, left : left + width] = np.arange(height * width).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(rows, kernel)[::down, ::across]
    return np.ascontiguousarray(windows.reshape(-1, kernel[0] * kernel[1])), windows.shape[:2]
