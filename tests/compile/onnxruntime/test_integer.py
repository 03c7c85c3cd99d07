"""Linear layers and convolutions as products of integers compute what the Q/DQ nodes mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import helper

from f2edge.compile.onnxruntime.convolution import multiply_convolutions
from f2edge.compile.onnxruntime.factors import move_in_integers
from f2edge.compile.onnxruntime.integer import multiply_integers
from tests.support.onnx_graphs import kinds, make_model, run

if TYPE_CHECKING:
    import onnx

    from f2edge.arrays import FloatArray

ROWS, INPUTS, OUTPUTS = 10, 64, 24
SCALE = np.float32(0.02)
ROUNDING = {"rtol": 1e-5, "atol": 1e-4}


def noise(*shape: int) -> FloatArray:
    """Return normal random numbers, the same at every call."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def quantized(kind: str, weight: np.ndarray[Any, Any], shape: list[int] | None = None) -> onnx.ModelProto:
    """Return a linear layer of quantized activations, as NNCF writes it: "Gemm", or "MatMul" and a sum.

    Args:
        kind: the operator.
        weight: (inputs, outputs), int8; for Gemm it is stored transposed.
        shape: of the activations.
    """
    gemm = kind == "Gemm"
    product = helper.make_node("Gemm", ["dq", "w", "b"], ["y"], transB=1)
    sum_ = [helper.make_node("MatMul", ["dq", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]),
        helper.make_node("DequantizeLinear", ["qw", "sw", "zw"], ["w"], axis=-2 if gemm else -1),
        *([product] if gemm else sum_),
    ]
    return make_model(
        nodes,
        shape or [ROWS, INPUTS],
        s=SCALE,
        z=np.int8(0),
        qw=np.ascontiguousarray(weight.T) if gemm else weight,
        sw=np.linspace(-0.02, 0.03, weight.shape[1], dtype=np.float32),  # NNCF's scales may be negative
        zw=np.zeros(weight.shape[1], np.int8),
        b=noise(weight.shape[1]),
    )


@pytest.mark.parametrize("kind", ["Gemm", "MatMul"])
def test_a_linear_layer_is_one_product(kind: str) -> None:
    """Weights and activations at the ends of their ranges, where products of u8 and s8 saturate without VNNI, too."""
    weight = np.random.default_rng(1).choice(np.array([-128, -127, 127], np.int8), (INPUTS, OUTPUTS))
    model, x = quantized(kind, weight), 3 * noise(ROWS, INPUTS)
    expected = run(model, x, plain=True)
    multiply_integers(model)
    assert kinds(model) == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 1}
    np.testing.assert_allclose(run(model, x), expected, **ROUNDING)


def test_signed_weights() -> None:
    """Products that cannot saturate are exact on every processor, with the weights as they are stored."""
    weight = np.random.default_rng(2).integers(-64, 65, (INPUTS, OUTPUTS)).astype(np.int8)
    model, x = quantized("MatMul", weight, [2, 5, INPUTS]), noise(2, 5, INPUTS)
    expected = run(model, x, plain=True)
    multiply_integers(model)
    np.testing.assert_allclose(run(model, x, unsigned=False), expected, **ROUNDING)


def test_a_layer_that_is_half_quantized_stays() -> None:
    """A product of float activations, or of a scale for all outputs, is left as it is."""
    model = quantized("MatMul", np.ones((INPUTS, OUTPUTS), np.int8))
    model.graph.node[3].input[0] = "x"
    multiply_integers(model)
    assert kinds(model)["MatMul"] == 1
    model = quantized("MatMul", np.ones((INPUTS, OUTPUTS), np.int8))
    model.graph.node[2].attribute[0].i = 0  # a scale for each input: no kernel has that
    multiply_integers(model)
    assert kinds(model)["MatMul"] == 1


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "pads"), [(2, [1, 1, 1, 1]), (1, [0, 1, 2, 0])])
def test_a_convolution_is_one_product(stride: int, pads: list[int], bias: bool) -> None:
    """The patches of a map of 7 x 5 with channels last, in the order that NNCF writes: quantized before it is moved."""
    channels, rng = 16, np.random.default_rng(3)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["dq"]),
        helper.make_node("Reshape", ["dq", "map"], ["m"]),
        helper.make_node("Transpose", ["m"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["qw", "sw", "zw"], ["w"], axis=0),
        helper.make_node("Conv", ["first", "w", *["b"] * bias], ["c"], pads=pads, strides=[stride] * 2),
        helper.make_node("Transpose", ["c"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "rows"], ["y"]),
    ]
    model = make_model(
        nodes,
        [35, channels],
        s=SCALE,
        z=np.int8(0),
        map=np.array([1, 7, 5, channels]),
        qw=rng.integers(-128, 128, (OUTPUTS, channels, 3, 3)).astype(np.int8),
        sw=np.linspace(-0.02, 0.03, OUTPUTS, dtype=np.float32),
        zw=np.zeros(OUTPUTS, np.int8),
        b=noise(OUTPUTS),
        rows=np.array([-1, OUTPUTS]),
    )
    x = noise(35, channels)
    expected = run(model, x, plain=True)
    for rewrite in (multiply_integers, move_in_integers, multiply_convolutions):
        rewrite(model)
    assert kinds(model)["MatMulIntegerToFloat"] == 1
    assert not {"Conv", "Transpose", "DequantizeLinear"}.intersection(kinds(model))
    np.testing.assert_allclose(run(model, x), expected, **ROUNDING)
