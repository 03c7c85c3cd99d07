"""Linear layers with INT8 weights and float activations, and the table that a head shares with look-ups."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from f2edge.bundle.golden import relative_error
from f2edge.compile.onnxruntime.weights_only import multiply_by_blocks
from f2edge.quantize.tables import look_up_in_int8
from tests.support.onnx_graphs import kinds, make_model, run

ROUNDING_OF_ACTIVATIONS = 0.01
"""ONNX Runtime rounds the activations to 8 bits, with a scale for each block."""


@pytest.mark.parametrize("width", [256, 96, 40])
def test_a_linear_layer_in_blocks(width: int) -> None:
    """Widths of whole blocks of 128, of whole small blocks, and of neither; scales may be negative."""
    rng, outputs = np.random.default_rng(0), 21
    nodes = [
        helper.make_node("DequantizeLinear", ["qw", "sw"], ["w"], axis=-1),
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["y"]),
    ]
    model = make_model(
        nodes,
        [1, 3, width],
        qw=rng.integers(-128, 128, (width, outputs)).astype(np.int8),
        sw=np.linspace(-0.02, 0.03, outputs, dtype=np.float32),
        b=rng.standard_normal(outputs).astype(np.float32),
    )
    x = rng.standard_normal((1, 3, width)).astype(np.float32)
    expected = run(model, x, plain=True)
    multiply_by_blocks(model)
    assert kinds(model) == {"MatMulNBits": 1}
    assert relative_error(run(model, x), expected) < ROUNDING_OF_ACTIVATIONS


def test_the_head_has_the_bytes_of_the_table() -> None:
    """A token is looked up in, and the head multiplies by, the same bytes; what is looked up does not change."""
    rng, rows, width = np.random.default_rng(1), 300, 128
    nodes = [
        helper.make_node("DequantizeLinear", ["table", "scales"], ["float"], axis=0),
        helper.make_node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["float", "ids"], ["rows"]),
        helper.make_node("Gemm", ["rows", "float"], ["y"], transB=1),
    ]
    model = make_model(
        nodes,
        [4],
        table=rng.integers(-128, 128, (rows, width)).astype(np.int8),
        scales=rng.uniform(0.01, 0.02, rows).astype(np.float32),
    )
    x = np.array([0, 299, 7, 7], np.float32)
    expected = run(model, x, plain=True)
    look_up_in_int8(model.graph)
    multiply_by_blocks(model)
    assert kinds(model)["MatMulNBits"] == 1
    large = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= rows * width]
    assert len(large) == 2
    assert {tensor.raw_data for tensor in large} == {large[0].raw_data}
    assert relative_error(run(model, x), expected) < ROUNDING_OF_ACTIVATIONS
