"""Depthwise convolutions that add their input to their result themselves."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

from f2edge.compile.onnxruntime.editing import CHANNELS_FIRST, CHANNELS_LAST, Editor, attribute
from f2edge.quantize.onnx_files import prune

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

_CONVOLUTION = (("Reshape", 0), ("Transpose", 0), ("Conv", 0), ("Transpose", 0), ("Reshape", 0))
"""From the result, with channels last, upwards to the tokens that it is computed from."""


def fold_residuals(model: onnx.ModelProto) -> None:
    """Replace x + convolution(x) by one depthwise convolution, in place.

    The weight at the centre of each channel's kernel grows by 1.  That saves a pass over the whole map.
    """
    editor = Editor(model)
    for total in model.graph.node:
        for x, result in permutations(total.input) if total.op_type == "Add" else ():
            nodes = editor.chain(result, *_CONVOLUTION)
            if nodes is not None and nodes[-1].input[0] == x:
                _fold(editor, nodes, total)
    prune(model.graph)


def _fold(editor: Editor, nodes: Sequence[onnx.NodeProto], total: onnx.NodeProto) -> None:
    last, after, convolution, before, _ = nodes
    kernel = editor.constant(convolution.input[1])
    in_order = [attribute(node, "perm", []) for node in (before, after)] == [CHANNELS_FIRST, CHANNELS_LAST]
    alone = all(editor.alone(node.output[0]) is not None for node in nodes)
    if in_order and alone and kernel is not None and _keeps_size(convolution, kernel):
        convolution.input[1] = editor.add(f"{convolution.input[1]}.residual", _with_identity(kernel))
        # the sum gets a name that nobody else reads, so that it is pruned
        last.output[0], total.output[0] = total.output[0], last.output[0]


def _keeps_size(node: onnx.NodeProto, kernel: NDArray[np.float32]) -> bool:
    """Tell whether a convolution has one kernel for each channel, which returns a map of the same size."""
    height, width = kernel.shape[2:]
    padding = [height // 2, width // 2] * 2
    steps = {*attribute(node, "strides", [1]), *attribute(node, "dilations", [1])}
    depthwise = attribute(node, "group", 1) == len(kernel) and kernel.shape[1] == 1
    return depthwise and steps == {1} and height % 2 == width % 2 == 1 and attribute(node, "pads", []) == padding


def _with_identity(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    changed: NDArray[np.float32] = kernel.copy()
    changed[:, 0, kernel.shape[2] // 2, kernel.shape[3] // 2] += 1
    return changed
