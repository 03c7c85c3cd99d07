"""INT8 products are right on processors whose kernels saturate, or take one scale for all channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from f2edge.runtimes.openvino.integer import PAIR_LIMIT, Fault, faults_of, pair_factors, rewrite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from f2edge.arrays import FloatArray, Int8Array

ROUNDING = 1e-5
ROWS, SIZE, CHANNELS = 5, 34, 12
LEVELS = 255


def random_weights(seed: int, *shape: int) -> Int8Array:
    """Return weights that use all 8 bits."""
    return np.random.default_rng(seed).integers(-127, 128, shape, dtype=np.int8)


def quantized_product(weights: Int8Array, scales: FloatArray, form: str) -> ov.Model:
    """Return a graph of one product of quantized activations (1, rows, size) and ``weights`` (channels, size).

    Args:
        weights: the INT8 weights.
        scales: one scale for each channel, (channels, 1).
        form: "rows", "columns" (weights times activations), "stored" with the channels last, or "biased".
    """
    activations = ops.parameter([1, -1, SIZE], np.float32)
    bound = [np.full((1, 1, 1), value, np.float32) for value in (-1, 1, -1, 1)]
    rows = ops.fake_quantize(activations, *bound, LEVELS)
    turned = form == "stored"
    stored = np.ascontiguousarray(weights.T if turned else weights)
    scaled = ops.multiply(ops.convert(ops.constant(stored), "f32"), ops.constant(scales.T if turned else scales))
    if form == "columns":
        columns = ops.matmul(scaled, rows, transpose_a=False, transpose_b=True)
        result = ops.transpose(columns, ops.constant(np.array([0, 2, 1])))
    else:
        result = ops.matmul(rows, scaled, transpose_a=False, transpose_b=not turned)
    if form == "biased":
        result = ops.add(result, ops.constant(np.ones((1, 1, CHANNELS), np.float32)))
    return ov.Model([result], [activations], form)


def computed(model: ov.Model, activations: FloatArray) -> FloatArray:
    """Return what OpenVINO computes on this processor with its INT8 kernels."""
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result: FloatArray = np.array(compiled.create_infer_request().infer({0: activations})[0])
    return result


def pairs(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sums of an even element of each row and the next, of positive ones and of negative ones."""
    return np.concatenate([np.maximum(sign * weights, 0).reshape(len(weights), -1, 2).sum(-1) for sign in (1, -1)])


@pytest.mark.parametrize("form", ["rows", "columns", "stored", "biased"])
@pytest.mark.parametrize("known", [*Fault, None])
def test_products_stay_right(form: str, known: Fault | None) -> None:
    """Rewritten for one fault or for both, a product is what its weights say; smaller weights are rounded, by 1 %."""
    weights, scales = random_weights(0, CHANNELS, SIZE), np.linspace(0.01, 0.1, CHANNELS, dtype=np.float32)[:, None]
    activations = np.random.default_rng(1).integers(-127, 128, (1, ROWS, SIZE)).astype(np.float32) / 127
    expected = activations @ (weights * scales).T + (form == "biased")
    model = quantized_product(weights, scales, form)
    faults = faults_of(model, "CPU") | (frozenset(Fault) if known is None else {known})  # those of this processor count
    result = computed(rewrite(model, faults), activations)
    limit = 0.01 if Fault.SATURATES in faults else ROUNDING
    assert np.linalg.norm(result - expected) <= limit * np.linalg.norm(expected)


def test_products_that_share_their_weights() -> None:
    """Each is rewritten once."""
    weights, scales = random_weights(4, SIZE, SIZE), np.linspace(0.001, 0.01, SIZE, dtype=np.float32)[:, None]
    activations = np.random.default_rng(5).integers(-127, 128, (1, ROWS, SIZE)).astype(np.float32) / 127
    rows = ops.parameter([1, -1, SIZE], np.float32)
    bound = [np.full((1, 1, 1), value, np.float32) for value in (-1, 1, -1, 1)]
    scaled = ops.multiply(ops.convert(ops.constant(weights), "f32"), ops.constant(scales))
    quantized = ops.fake_quantize(rows, *bound, LEVELS)
    products = [ops.matmul(quantized, scaled, transpose_a=False, transpose_b=True) for _ in range(2)]
    model = rewrite(ov.Model([ops.add(*products)], [rows], "shared"), frozenset(Fault))
    expected = 2 * activations @ (weights * scales).T
    assert np.linalg.norm(computed(model, activations) - expected) <= 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("shape", [(16, 64), (16, 32, 3, 3), (16, 6, 1, 1)])
def test_pairs_are_limited(shape: tuple[int, ...]) -> None:
    """No two neighbours exceed the limit, in whichever order a kernel reads the channels; none shrinks by half."""
    weights = random_weights(2, *shape)
    factors = pair_factors(weights)
    smaller = np.rint(weights * factors.reshape(-1, *[1] * (len(shape) - 1))).astype(np.int64)
    for order in (smaller, np.moveaxis(smaller, 1, -1)):
        assert pairs(order.reshape(len(order), -1)).max() <= PAIR_LIMIT
    assert factors.min() >= (PAIR_LIMIT - 1) / (2 * 127)


def test_small_weights_stay() -> None:
    """Channels whose pairs cannot saturate keep their weights, zeros too."""
    weights = np.stack([np.zeros(8, np.int8), np.full(8, PAIR_LIMIT // 2 - 1, np.int8)])
    assert (pair_factors(weights) == 1).all()


def test_faults_concern_quantized_activations_on_the_cpu() -> None:
    """A float graph, and a GPU, need no rewriting, and the processor is not tried for them."""
    weights, scales = random_weights(0, CHANNELS, SIZE), np.full((CHANNELS, 1), 0.01, np.float32)
    quantized = quantized_product(weights, scales, "rows")
    rows = ops.parameter([1, -1, SIZE], np.float32)
    assert faults_of(ov.Model([ops.relu(rows)], [rows], "float"), "CPU") == frozenset()
    assert faults_of(quantized, "GPU") == frozenset()
    assert faults_of(quantized, "AUTO:GPU,CPU") == faults_of(quantized, "CPU")
