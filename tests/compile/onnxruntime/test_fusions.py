"""GELU and attention as one operator each, factors folded, and quantizers in front of what only moves values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from onnx import helper

from f2edge.compile.onnxruntime.attention import fuse_attention
from f2edge.compile.onnxruntime.factors import fold_factors, move_in_integers
from f2edge.compile.onnxruntime.gelu import fuse_gelu
from tests.support.onnx_graphs import kinds, make_model, run

RNG = np.random.default_rng(0)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize(("divisor", "fused"), [(math.sqrt(2), True), (2.0, False)])
def test_gelu(divisor: float, fused: bool) -> None:
    """The exporter's five nodes become one, and nodes that compute something else stay."""
    nodes = [
        helper.make_node("Div", ["x", "divisor"], ["d"]),
        helper.make_node("Erf", ["d"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["a"]),
        helper.make_node("Mul", ["half", "a"], ["h"]),
        helper.make_node("Mul", ["x", "h"], ["y"]),
    ]
    model = make_model(nodes, [9, 7], divisor=np.float32(divisor), one=np.float32(1), half=np.float32(0.5))
    x = 3 * RNG.standard_normal((9, 7)).astype(np.float32)
    expected = run(model, x, plain=True)
    fuse_gelu(model)
    assert (kinds(model) == {"Gelu": 1}) is fused
    np.testing.assert_allclose(run(model, x), expected, **CLOSE)


def attention(order_of_keys: list[int]) -> Any:
    """Return the attention of rows (2 * 5, 12) among the 5 tokens of each of 2 windows, with 3 heads."""
    nodes = [
        *(helper.make_node("Mul", ["x", f"f{part}"], [part]) for part in "qkv"),
        *(helper.make_node("Reshape", [part, "split"], [f"{part}4"]) for part in "qkv"),
        helper.make_node("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["k4"], ["kt"], perm=order_of_keys),
        helper.make_node("Transpose", ["v4"], ["vt"], perm=[0, 2, 1, 3]),
        helper.make_node("MatMul", ["qt", "kt"], ["s"]),
        helper.make_node("Softmax", ["s"], ["w"], axis=-1),
        helper.make_node("MatMul", ["w", "vt"], ["o"]),
        helper.make_node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["ot", "join"], ["y"]),
    ]
    factors = {f"f{part}": RNG.uniform(0.5, 2, 12).astype(np.float32) for part in "qkv"}
    return make_model(nodes, [10, 12], split=np.array([2, 5, 3, 4]), join=np.array([-1, 12]), **factors)


def test_attention() -> None:
    """Attention among the tokens of windows becomes one operator, with the scale that the queries have already."""
    model, x = attention([0, 2, 3, 1]), RNG.standard_normal((10, 12)).astype(np.float32)
    expected = run(model, x, plain=True)
    fuse_attention(model)
    assert kinds(model) == {"Mul": 3, "Reshape": 4, "MultiHeadAttention": 1}
    np.testing.assert_allclose(run(model, x), expected, **CLOSE)


def test_another_order_is_no_attention() -> None:
    """Nodes whose transpositions differ stay as they are."""
    model = attention([0, 2, 3, 1])
    model.graph.node[12].attribute[0].ints[:] = [0, 1, 2, 3]
    fuse_attention(model)
    assert kinds(model)["Softmax"] == 1


def smoothed(*, second_reader: bool) -> Any:
    """Return a layer norm whose rows are split into windows, padded, multiplied by factors and quantized."""
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gamma", "beta"], ["n"], axis=-1),
        helper.make_node("Reshape", ["n", "split"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[1, 0, 2]),
        helper.make_node("Pad", ["t", "pads"], ["p"], mode="constant"),
        helper.make_node("Mul", ["p", "factors"], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Add", ["d", "t" if second_reader else "d"], ["y"]),
    ]
    if second_reader:
        del nodes[3]
        nodes[3].input[0] = "t"
    return make_model(
        nodes,
        [6, 8],
        gamma=RNG.uniform(0.5, 2, 8).astype(np.float32),
        beta=RNG.standard_normal(8).astype(np.float32),
        split=np.array([2, 3, 8]),
        pads=np.array([0, 1, 0, 0, 0, 0]),
        factors=RNG.uniform(0.5, 2, (1, 8)).astype(np.float32),
        s=np.float32(0.01),
        z=np.uint8(128),
    )


def test_factors_and_moves() -> None:
    """Factors go into the norm, the quantizer behind it, and windows are made of bytes, padded with the zero point."""
    model, x = smoothed(second_reader=False), RNG.standard_normal((6, 8)).astype(np.float32)
    expected = run(model, x, plain=True)
    fold_factors(model)
    move_in_integers(model)
    order = [node.op_type for node in model.graph.node]
    assert order == ["LayerNormalization", "QuantizeLinear", "Reshape", "Transpose", "Pad", "DequantizeLinear", "Add"]
    np.testing.assert_allclose(run(model, x, plain=True), expected, atol=0.021)  # a step of the quantizer, doubled
    assert (run(model, x, plain=True) == expected).mean() > 0.9


def test_a_norm_with_another_reader_keeps_its_values() -> None:
    """Factors stay where they are if the norm, or what moves its rows, is read by others, too."""
    model = smoothed(second_reader=True)
    before = kinds(model)
    fold_factors(model)
    assert kinds(model) == before
