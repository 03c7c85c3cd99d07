"""Scales of Q/DQ nodes as TensorRT's parser wants them: positive, and above zero in half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_SMALLEST = 2.0**-24
"""The least number above zero that fp16 has; a channel of zeros has a scale of less."""


def make_scales_positive(graph: onnx.GraphProto) -> None:
    """Flip the channels of INT8 weights whose scale is negative, in place.

    NNCF lets the sign of a scale choose which end of the asymmetric range -128..127 a channel's largest weight takes;
    TensorRT refuses that.  The flipped -128 becomes 127: one step less for the largest weight of a channel.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[1] not in constants:
            continue
        scale = numpy_helper.to_array(constants[node.input[1]])
        if node.input[0] in constants and (scale < 0).any():
            weight = constants[node.input[0]]
            flipped = _flipped(numpy_helper.to_array(weight), scale < 0, _axis(node))
            weight.CopyFrom(numpy_helper.from_array(flipped, weight.name))
        positive = np.maximum(np.abs(scale), np.float32(_SMALLEST))
        constants[node.input[1]].CopyFrom(numpy_helper.from_array(positive, node.input[1]))


def _flipped(weight: NDArray[np.int8], negative: NDArray[np.bool_], axis: int) -> NDArray[np.int8]:
    shape = [1] * weight.ndim
    shape[axis] = -1
    limited = np.maximum(weight, -127)
    return np.where(negative.reshape(shape), -limited, weight)


def _axis(node: onnx.NodeProto) -> int:
    """The dimension that has a scale each; ONNX's default is 1."""
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
