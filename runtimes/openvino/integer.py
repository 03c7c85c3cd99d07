"""Rewrite the INT8 products of a graph where the kernels of OpenVINO's CPU plugin compute them wrongly.

Two faults are known (docs/traps.md).  Small products tell which of them this processor and this version have: then
nothing depends on the processor's name, and a version without a fault gets the graph as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as ops

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from f2edge.arrays import FloatArray, Int8Array

PAIR_LIMIT = 128
"""The largest sum of two neighbouring weights that no activation of 8 bits can push out of 16 bits: 255 * 128."""

_NEVER_ZERO = 1e-30
"""A bias so small that it changes no sum.  A bias of zero would be removed, and the fault would be back."""
_EXACT = 1e-3


class Fault(Enum):
    """What a kernel of the CPU plugin does wrong with an INT8 product."""

    SATURATES = "saturates"
    """x86 without VNNI adds two products of 8 bits in 16 bits, which are too few for large weights."""
    ONE_SCALE = "one scale"
    """64-bit ARM multiplies all output channels by the scale of one of them."""


@dataclass(frozen=True)
class _Product:
    """A product or a convolution with INT8 weights.

    Args:
        node: the ``MatMul`` or ``Convolution``.
        stored: the INT8 weights as they are stored, converted to float.
        weights: their values.
        scales: float32, with the number of dimensions of the weights or none.
        channel_axis: the axis of the weights with the output channels.
    """

    node: ov.Node
    stored: ov.Output
    weights: Int8Array
    scales: FloatArray
    channel_axis: int


def faults_of(model: ov.Model, device: str) -> frozenset[Fault]:
    """Return the faults that concern a graph on a device.

    They are the CPU plugin's, which ``AUTO`` starts with, and concern graphs with quantized activations alone.
    """
    quantized = any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    return _faults_of_this_processor() if quantized and device.startswith(("CPU", "AUTO")) else frozenset()


@cache
def _faults_of_this_processor() -> frozenset[Fault]:
    large = np.full((32, 64), 127, np.int8)
    same, rising = np.full((32, 1), 0.01, np.float32), np.linspace(0.01, 0.1, 32, dtype=np.float32)[:, None]
    saturates = {Fault.SATURATES} if _is_wrong(large, same) else set()
    return frozenset(saturates | ({Fault.ONE_SCALE} if _is_wrong(large // 2, rising) else set()))


def _is_wrong(weights: Int8Array, scales: FloatArray) -> bool:
    """Compare a product of ``weights`` (channels, size) with the largest activations with what it should be.

    The number of rows is dynamic, as prompts have it: with a fixed number the kernels for ARM are right.
    """
    rows = ops.parameter([1, -1, weights.shape[1]], np.float32)
    bound = [np.full((1, 1, 1), value, np.float32) for value in (-1, 1, -1, 1)]
    scaled = ops.multiply(ops.convert(ops.constant(weights), "f32"), ops.constant(scales))
    product = ops.matmul(ops.fake_quantize(rows, *bound, 255), scaled, transpose_a=False, transpose_b=True)
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    compiled = ov.Core().compile_model(ov.Model([product], [rows], "probe"), "CPU", options)
    result = compiled.create_infer_request().infer({0: np.ones((1, 16, weights.shape[1]), np.float32)})[0]
    expected = weights.astype(np.float32).sum(1) * scales[:, 0]
    return not (np.abs(result - expected) <= _EXACT * expected).all()  # also if it is not a number


def rewrite(model: ov.Model, known: frozenset[Fault]) -> ov.Model:
    """Rewrite the INT8 products of a graph, in place, so that kernels with these faults compute them right."""
    if known:
        _put_weights_last(model)
        for product in _products(model):
            right = _limit_pairs(product) if Fault.SATURATES in known else product
            if Fault.ONE_SCALE in known and product.node.get_type_name() == "MatMul":
                right = _scale_afterwards(right)
            # nodes of its own: another product may have the same weights
            scaled = ops.multiply(right.stored, ops.constant(np.asarray(right.scales, np.float32)))
            product.node.input(1).replace_source_output(scaled.output(0))
    return model


def _put_weights_last(model: ov.Model) -> None:
    """Replace each product of weights and activations by the transposed product of activations and weights.

    Kernels shift the first factor to positive numbers, and it is the pairs of the second one that saturate.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul" and _int8_weights(node.input_value(0).get_node()) is not None:
            flags, order = node.get_attributes(), [*range(len(node.get_output_partial_shape(0)))]
            rows = ops.matmul(
                node.input_value(1),
                node.input_value(0),
                transpose_a=not flags["transpose_b"],
                transpose_b=not flags["transpose_a"],
            )
            columns = ops.transpose(rows, ops.constant(np.array([*order[:-2], order[-1], order[-2]])))
            node.output(0).replace(columns.output(0))


def _products(model: ov.Model) -> Iterator[_Product]:
    for node in model.get_ordered_ops():
        if node.get_type_name() in ("MatMul", "Convolution"):
            scaling = node.input_value(1).get_node()
            if (weights := _int8_weights(scaling)) is not None:
                stored_by_channel = node.get_attributes().get("transpose_b", True)
                scales = np.array(scaling.input_value(1).get_node().data)
                axis = 0 if stored_by_channel else weights.ndim - 1
                yield _Product(node, scaling.input_value(0), weights, scales, axis)


def _int8_weights(scaling: ov.Node) -> Int8Array | None:
    """Return the weights of ``Multiply(Convert(INT8 weights), scales)``; None for any other node."""
    if scaling.get_type_name() != "Multiply" or scaling.input_value(1).get_node().get_type_name() != "Constant":
        return None
    convert = scaling.input_value(0).get_node()
    stored = convert.input_value(0).get_node() if convert.get_type_name() == "Convert" else None
    if stored is None or stored.get_type_name() != "Constant" or stored.get_element_type() != ov.Type.i8:
        return None
    return np.array(stored.data)


def _limit_pairs(product: _Product) -> _Product:
    """Make weights smaller, and their scales larger, until no two neighbours exceed the limit of a pair."""
    factors = pair_factors(np.moveaxis(product.weights, product.channel_axis, 0))
    shape = [1] * product.weights.ndim
    shape[product.channel_axis] = -1
    factors = factors.reshape(shape)
    smaller = np.rint(product.weights * factors).astype(np.int8)
    stored = ops.convert(ops.constant(smaller), "f32").output(0)
    return replace(product, stored=stored, weights=smaller, scales=product.scales / factors)


def pair_factors(weights: Int8Array) -> FloatArray:
    """Return the factor, at most 1, for the weights of each output channel: the first axis.

    Kernels may lay out the weights of a convolution with the input channels first or last: both neighbours count.
    """
    orders = [weights.reshape(len(weights), -1), np.moveaxis(weights, 1, -1).reshape(len(weights), -1)]
    largest = np.max([_largest_pairs(sign * order.astype(np.int16)) for order in orders for sign in (1, -1)], axis=0)
    factors: FloatArray = np.minimum(1, (PAIR_LIMIT - 1) / np.maximum(largest, 1)).astype(np.float32)
    return factors  # rounded, two neighbours gain 1 at the most


def _largest_pairs(rows: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the largest sum of an even element and the next of each row; negative ones add nothing."""
    positive = np.pad(np.maximum(rows, 0), ((0, 0), (0, rows.shape[1] % 2)))
    largest: NDArray[np.int16] = (positive[:, ::2] + positive[:, 1::2]).max(axis=1)
    return largest


def _scale_afterwards(product: _Product) -> _Product:
    """Give all output channels one scale, and multiply the result by what is left of their own.

    Multiplied and added at once, the plugin leaves the factors alone; without a bias it would put them back.
    """
    mean = product.scales.mean()
    factors = (product.scales / mean).reshape(1, -1).astype(np.float32)
    users = list(product.node.output(0).get_target_inputs())
    scaled = ops.multiply(product.node, ops.constant(factors))
    biased = scaled if _is_biased(users) else ops.add(scaled, ops.constant(np.full_like(factors, _NEVER_ZERO)))
    for user in users:
        user.replace_source_output(biased.output(0))
    return replace(product, scales=mean)


def _is_biased(users: list[ov.Input]) -> bool:
    """Tell whether the only user of a result adds a constant to it."""
    nodes = [user.get_node() for user in users]
    return (
        len(nodes) == 1
        and nodes[0].get_type_name() == "Add"
        and any(value.get_node().get_type_name() == "Constant" for value in nodes[0].input_values())
    )
