"""Graphs in the layout that OpenVINO's CPU plugin runs fastest: the same answers, without the slow nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper

from f2edge.compile.openvino.layout import (
    convert,
    keys_in_columns,
    lift_quantized_norms,
    project_to_columns,
    transpose_in_products,
)

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray

ROWS, WIDTH = 6, 8
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
RNG = np.random.default_rng(0)


def constant(name: str, values: object) -> onnx.TensorProto:
    """Return an initializer."""
    return numpy_helper.from_array(np.asarray(values), name)


def quantized_norm(*, smooth: bool = True, second_reader: bool = False) -> onnx.ModelProto:
    """Return a layer norm of rows whose output is multiplied, quantized and projected, as NNCF leaves it."""
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gamma", "beta"], ["norm"], "norm", axis=-1),
        helper.make_node("Mul", ["norm", "factors"], ["smooth"], "smooth"),
        helper.make_node("QuantizeLinear", ["smooth" if smooth else "norm", "scale", "zero"], ["q"], "quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], "dequantize"),
        helper.make_node("Gemm", ["dq", "weight"], ["product"], "product"),
        helper.make_node("Add", ["product", "norm" if second_reader else "product"], ["y"], "add"),
    ]
    constants = {
        "gamma": RNG.uniform(0.5, 2, WIDTH).astype(np.float32),
        "beta": RNG.standard_normal(WIDTH).astype(np.float32),
        "factors": RNG.uniform(0.5, 2, WIDTH).astype(np.float32),
        "scale": np.float32(0.05),
        "zero": np.int8(0),
        "weight": RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32),
    }
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, WIDTH]) for name in ("x", "y")]
    nodes = [node for node in nodes if smooth or node.name != "smooth"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [constant(n, v) for n, v in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: FloatArray) -> FloatArray:
    """Return ONNX Runtime's output."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("smooth", [True, False])
def test_a_lifted_norm_computes_the_same(smooth: bool) -> None:
    """A lifted norm gives the same values, with SmoothQuant's factors and without."""
    model, x = quantized_norm(smooth=smooth), RNG.standard_normal((ROWS, WIDTH)).astype(np.float32)
    expected = run(model, x)
    assert lift_quantized_norms(model) == 1
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_array_equal(run(model, x), expected)


def test_a_norm_with_several_readers_stays() -> None:
    """A norm that a residual connection reads as well is left unchanged."""
    model = quantized_norm(second_reader=True)
    before = model.SerializeToString()
    assert lift_quantized_norms(model) == 0
    assert model.SerializeToString() == before


def ranges(model: ov.Model) -> set[tuple[int, ...]]:
    """Return the shapes of all quantizers' ranges."""
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]
    return {tuple(node.input_value(1).get_shape()) for node in nodes}


def test_openvino_keeps_one_range_for_all_channels(tmp_path: Path) -> None:
    """After the conversion, each quantizer has one range for all channels; no file is left beside the graph."""
    path = tmp_path / "vision.onnx"
    onnx.save(quantized_norm(), path)
    assert ranges(ov.convert_model(path)) == {(1, WIDTH)}
    assert ranges(convert(path, tmp_path)) == {(1, 1, 1)}
    assert list(tmp_path.iterdir()) == [path]


def test_relative_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths of the graph and of the scratch directory may be relative."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    onnx.save(quantized_norm(), "vision.onnx")
    assert ranges(convert(Path("vision.onnx"), Path("scratch"))) == {(1, 1, 1)}


def test_a_product_transposes_its_queries() -> None:
    """The product of q (1, N, heads, d) and k (1, heads, N, d) transposes q itself, without a copy."""
    N, heads, d = 10, 2, 4
    q = ov.opset13.parameter([1, N, heads, d], ov.Type.f32, "q")
    k = ov.opset13.parameter([1, heads, N, d], ov.Type.f32, "k")
    rows = ov.opset13.transpose(q, ov.opset13.constant(np.array([0, 2, 3, 1])))
    model = ov.Model([ov.opset13.matmul(rows, k, transpose_a=False, transpose_b=False)], [q, k])
    inputs = {p: RNG.standard_normal(list(p.shape)).astype(np.float32) for p in model.inputs}
    values = [inputs[p] for p in model.inputs]
    expected = ov.compile_model(model, "CPU")(values)[0]
    changed = transpose_in_products(model)
    np.testing.assert_allclose(ov.compile_model(changed, "CPU")(values)[0], expected, rtol=1e-5, atol=1e-5)
    products = [node for node in changed.get_ordered_ops() if node.get_type_name() == "MatMul"]
    assert [node.get_attributes()["transpose_a"] for node in products] == [True]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("transpose_b", [True, False])
def test_quantized_keys_are_projected_to_columns(biased: bool, transpose_b: bool) -> None:
    """The keys (windows, heads, d, tokens) are the same, and no transposition is left."""
    ops, windows, heads, d, tokens = ov.opset13, 3, 2, 4, 5
    rows = ops.parameter([windows * tokens, heads * d], ov.Type.f32)
    low, high = ops.constant(np.float32(-4)), ops.constant(np.float32(4 * 127 / 128))
    weights = ops.constant(RNG.standard_normal((heads * d, heads * d)).astype(np.float32))
    quantized = ops.fake_quantize(rows, low, high, low, high, 256)
    product = ops.matmul(quantized, weights, transpose_a=False, transpose_b=transpose_b)
    if biased:
        product = ops.add(product, ops.constant(RNG.standard_normal((1, heads * d)).astype(np.float32)))
    split = ops.reshape(product, ops.constant(np.array([windows, tokens, heads, d])), special_zero=False)
    model = ov.Model([ops.transpose(split, ops.constant(np.array([0, 2, 3, 1])))], [rows])
    values = RNG.standard_normal((windows * tokens, heads * d)).astype(np.float32)
    expected = ov.compile_model(model, "CPU", EXACT)([values])[0]
    changed = project_to_columns(model)
    assert "Transpose" not in [node.get_type_name() for node in changed.get_ordered_ops()]
    np.testing.assert_allclose(ov.compile_model(changed, "CPU", EXACT)([values])[0], expected, rtol=1e-5, atol=1e-5)


def encoder_and_decoder(tokens: int) -> tuple[ov.Model, ov.Model]:
    """Return a graph that makes keys of states (1, tokens, heads * d), and one that multiplies queries by them.

    The number of tokens may be -1, for any number.
    """
    ops = ov.opset13
    heads, d = 2, 4
    states = ops.parameter([1, tokens, heads * d], ov.Type.f32)
    split = ops.reshape(states, ops.constant(np.array([0, 0, heads, d])), special_zero=True)
    given = ops.transpose(split, ops.constant(np.array([0, 2, 1, 3])))
    encoder = ov.Model([given], [states])
    encoder.outputs[0].set_names({"cross.0.key"})
    queries, keys = ops.parameter([1, heads, 3, d], ov.Type.f32), ops.parameter([1, heads, tokens, d], ov.Type.f32)
    product = ops.matmul(queries, keys, transpose_a=False, transpose_b=True)
    largest = ops.reduce_max(keys, ops.constant(np.array([2])), keep_dims=True)  # a reader that needs keys in rows
    decoder = ov.Model([product, largest], [queries, keys])
    decoder.inputs[1].set_names({"cross.0.key"})
    return encoder, decoder


def answers(encoder: ov.Model, decoder: ov.Model, states: FloatArray, queries: FloatArray) -> list[FloatArray]:
    """Return the decoder's outputs for the encoder's keys."""
    keys = ov.compile_model(encoder, "CPU")([states])[0]
    return list(ov.compile_model(decoder, "CPU")([queries, keys]).values())


def test_keys_in_columns_give_the_same_products() -> None:
    """Names are kept, the last two axes are swapped, and the product transposes nothing."""
    states, queries = (RNG.standard_normal(shape).astype(np.float32) for shape in ((1, 7, 8), (1, 2, 3, 4)))
    expected = answers(*encoder_and_decoder(-1), states, queries)
    encoder, decoder = map(keys_in_columns, encoder_and_decoder(-1))
    assert (
        str(encoder.output("cross.0.key").partial_shape)
        == str(decoder.input("cross.0.key").partial_shape)
        == "[1,2,4,?]"
    )
    products = [node for node in decoder.get_ordered_ops() if node.get_type_name() == "MatMul"]
    assert [node.get_attributes()["transpose_b"] for node in products] == [False]
    for ours, theirs in zip(answers(encoder, decoder, states, queries), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_keys_of_fixed_length_stay_rows() -> None:
    """Graphs of fixed shapes are unchanged, because NPUs choose their own layouts."""
    encoder, decoder = map(keys_in_columns, encoder_and_decoder(7))
    assert list(encoder.output("cross.0.key").shape) == list(decoder.input("cross.0.key").shape) == [1, 2, 7, 4]
