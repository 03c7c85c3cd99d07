"""Make the scales of Q/DQ nodes positive, also in fp16, as the parser of TensorRT demands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import numpy_helper

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_SMALLEST = 2.0**-24
"""The smallest positive number of fp16; the scale of a channel of zeros is smaller."""


def make_scales_positive(graph: onnx.GraphProto) -> None:
    """Flip the channels of INT8 weights, or the blocks of INT4 ones, whose scale is negative, in place.

    NNCF chooses by the sign of a scale which end of the asymmetric range -128..127 the largest weight of a channel
    takes; TensorRT refuses that.  A flipped -128 becomes 127 (INT4: -8 becomes 7), one step less.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[1] not in constants:
            continue
        scale = numpy_helper.to_array(constants[node.input[1]])
        if node.input[0] in constants and (scale < 0).any():
            weight = constants[node.input[0]]
            values = numpy_helper.to_array(weight)
            flipped = _flipped(values, _over(values, scale < 0, node))
            weight.CopyFrom(numpy_helper.from_array(flipped, weight.name))
        positive = np.maximum(np.abs(scale), np.float32(_SMALLEST))
        constants[node.input[1]].CopyFrom(numpy_helper.from_array(positive, node.input[1]))


def _flipped(weight: NDArray[Any], negative: NDArray[np.bool_]) -> NDArray[Any]:
    wide = weight.astype(np.int8)  # numpy knows no INT4
    limited = np.maximum(wide, wide.dtype.type(-7 if weight.dtype != np.int8 else -127))
    return np.where(negative, -limited, wide).astype(weight.dtype)


def _over(weight: NDArray[Any], each: NDArray[np.bool_], node: onnx.NodeProto) -> NDArray[np.bool_]:
    """Expand one value per scale to the weights that share the scale: those of a channel, or of a block of it."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    axis = attributes.get("axis", 1)
    if block := attributes.get("block_size", 0):
        return np.repeat(each, block, axis)
    shape = [1] * weight.ndim
    shape[axis] = -1
    return each.reshape(shape)
