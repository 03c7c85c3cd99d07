"""Half-precision graphs: which tensors are fp16, and that they give the float graphs' answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from half_precision import compare
from onnx import TensorProto, checker, helper, numpy_helper

from f2edge.bundle.manifest import COMPONENTS
from f2edge.compile.tensorrt.half import to_half
from f2edge.compile.tensorrt.lookups import look_up_dequantized
from f2edge.compile.tensorrt.scales import make_scales_positive
from f2edge.errors import CompileError
from f2edge.quantize.tables import _look_up

if TYPE_CHECKING:
    from pathlib import Path

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


@pytest.fixture(scope="module")
def graphs(tiny_jetson_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, onnx.ModelProto]:
    """Convert the tiny checkpoint's graphs to half precision, by component."""
    path = tmp_path_factory.mktemp("half")
    for name in COMPONENTS:
        to_half(tiny_jetson_bundle / f"{name}.onnx", path / f"{name}.onnx")
    return {name: onnx.load(path / f"{name}.onnx") for name in COMPONENTS}


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the type of every tensor, from ONNX's strict type inference."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = {
        value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)
    }
    return values | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_graph_is_consistently_typed(component: str, graphs: dict[str, onnx.ModelProto]) -> None:
    """Only Cast nodes convert types; most products are fp16, and no large weight is fp32."""
    model = graphs[component]
    checker.check_model(model, full_check=True)
    tensor_types = types(model)
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Conv")]
    assert sum(tensor_types[node.output[0]] == HALF for node in products) > 0.7 * len(products)
    assert {t.data_type for t in model.graph.initializer if np.prod(t.dims) > 4096} <= {HALF, TensorProto.INT64}


@pytest.mark.parametrize("component", COMPONENTS)
def test_sensitive_operations_stay_float(component: str, graphs: dict[str, onnx.ModelProto]) -> None:
    """Layer norms, softmax, means, sums, exponentials and the best scores are computed in fp32."""
    model, wide = graphs[component], set()
    tensor_types = types(model)
    for node in model.graph.node:
        head = component == "decoder" and node.op_type == "Gemm"
        if head or node.op_type in ("LayerNormalization", "Softmax", "ReduceMean", "ReduceSum", "Exp", "Log", "TopK"):
            wide.add(node.op_type)
            assert tensor_types[node.input[0]] == tensor_types[node.output[0]] == FLOAT, node.name
    assert wide >= {"LayerNormalization", "Softmax"}
    assert component != "decoder" or wide >= {"TopK", "Exp", "Log", "ReduceSum"}


def test_only_the_long_sums_of_the_channel_attention_are_float(graphs: dict[str, onnx.ModelProto]) -> None:
    """Only the tiny model's first stage sums over 576 positions; the others over 144, 36 and 9."""
    model = graphs["vision"]
    tensor_types = types(model)
    wide = [n for n in model.graph.node if n.op_type == "MatMul" and tensor_types[n.output[0]] == FLOAT]
    assert len(wide) == 1


def test_types_of_inputs_and_outputs(graphs: dict[str, onnx.ModelProto]) -> None:
    """Keys and values are fp16; all other inputs and outputs are fp32 or integers."""
    for model in graphs.values():
        for value in (*model.graph.input, *model.graph.output):
            kind = value.type.tensor_type.elem_type
            if value.name.startswith(("past.", "present.", "cross.")):
                assert kind == HALF, value.name
            else:
                assert kind in (FLOAT, TensorProto.INT64), value.name


def test_a_weight_beyond_fp16(tmp_path: Path) -> None:
    """A weight too large for fp16 is named, with what to do."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "heavy"], ["y"], "product")],
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 2])],
        [numpy_helper.from_array(np.full((2, 2), 1e5, np.float32), "heavy")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "g.onnx")
    with pytest.raises(CompileError, match="weight heavy does not fit into fp16"):
        to_half(tmp_path / "g.onnx", tmp_path / "h.onnx")


def test_scales_become_positive() -> None:
    """Weights change their sign with their scale; only -128 changes by one step; scales stay within fp16's range."""
    weight = np.array([[-128, 5, 0], [127, -3, 0]], np.int8)
    scale = np.array([-0.5, 0.25, 1e-9], np.float32)
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["w", "s"], ["y"], axis=1)],
        "g",
        [],
        [helper.make_tensor_value_info("y", FLOAT, [2, 3])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(scale, "s")],
    )
    make_scales_positive(graph)
    initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    np.testing.assert_array_equal(initializers["w"], [[127, 5, 0], [-127, -3, 0]])
    np.testing.assert_array_equal(initializers["s"], np.array([0.5, 0.25, 2.0**-24], np.float32))


def test_scales_of_blocks_become_positive() -> None:
    """INT4 weights change their sign block by block."""
    weight = np.array([[-8, 7], [3, -2], [1, 1], [-8, 4]], np.int8).astype(ml_dtypes.int4)
    scale = np.array([[-1, 1], [1, -2]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["w", "s"], ["y"], axis=0, block_size=2)],
        "g",
        [],
        [helper.make_tensor_value_info("y", FLOAT, [4, 2])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(scale, "s")],
    )
    make_scales_positive(graph)
    initializers = {tensor.name: numpy_helper.to_array(tensor).astype(np.float32) for tensor in graph.initializer}
    assert graph.initializer[0].data_type == TensorProto.INT4
    np.testing.assert_array_equal(initializers["w"], [[7, 7], [-3, -2], [1, -1], [-8, -4]])
    np.testing.assert_array_equal(initializers["s"], np.abs(scale))


def test_tables_are_dequantized_before_the_lookup() -> None:
    """The conversion inverts the lookup that quantization writes, with the same result."""
    table = np.array([[1, 2], [-3, 4], [5, -6]], np.int8)
    scales = np.array([0.5, 0.25, 2], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["t", "ids"], ["y"], "look_up")],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("y", FLOAT, [2, 2])],
    )
    graph.initializer.extend([numpy_helper.from_array(table, "q"), numpy_helper.from_array(scales, "s")])
    _look_up(graph, {"t": ("q", "s")})
    assert [node.op_type for node in graph.node] == ["Gather", "Cast", "Gather", "Unsqueeze", "Mul"]
    look_up_dequantized(graph)
    assert [node.op_type for node in graph.node] == ["DequantizeLinear", "Gather"]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"ids": np.array([2, 1])})
    np.testing.assert_array_equal(rows, [[10, -12], [-0.75, 1]])


def test_the_embedded_checkpoint_answers_the_same(stages: Path) -> None:
    """At least 98 % of the tokens about six unseen scenes are equal."""
    agreement = compare(6, stages)
    assert agreement["tokens"] > 300
    assert agreement["share"] >= 0.98


@pytest.mark.slow
def test_the_embedded_checkpoint_answers_the_same_in_200_scenes() -> None:
    """At least 99 % of the tokens are equal."""
    assert compare(200)["share"] >= 0.99
