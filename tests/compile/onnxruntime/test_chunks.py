"""Layers of many tokens run on a part of the tokens at a time, with the same results bit for bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from f2edge.compile.onnxruntime import chunks
from f2edge.compile.onnxruntime.chunks import run_in_chunks
from f2edge.quantize.onnx_files import graphs
from tests.support.onnx_graphs import kinds, make_model, optimized, run

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray

HEIGHT, WIDTH, WINDOW, CHANNELS = 12, 8, 4, 16
"""A map of 3 x 2 windows."""
ROWS = HEIGHT * WIDTH
SHAPES = {"x": (ROWS, CHANNELS)}
MICROSOFT = "com.microsoft"
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that a third of the widest tensor of these graphs fills."""
    monkeypatch.setattr(chunks, "_CACHE", ROWS * CHANNELS * 4 // 3)
    monkeypatch.setattr(chunks, "_ROWS", 8)


def product(name: str, source: str) -> onnx.NodeProto:
    """Return a product of integers with weights of its own."""
    inputs = [source, f"{name}.w", "scale", f"{name}.scales", "zero", f"{name}.z", f"{name}.b"]
    return helper.make_node("MatMulIntegerToFloat", inputs, [name], domain=MICROSOFT)


def model(nodes: list[onnx.NodeProto], *products: str, **constants: object) -> onnx.ModelProto:
    """Return a graph of these nodes with all constants that they read."""
    for name in products:
        constants |= {
            f"{name}.w": RNG.integers(-127, 128, (CHANNELS, CHANNELS)).astype(np.int8),
            f"{name}.scales": np.full(CHANNELS, 0.01, np.float32),
            f"{name}.z": np.zeros(CHANNELS, np.int8),
            f"{name}.b": RNG.standard_normal(CHANNELS).astype(np.float32),
        }
    norm = {"gamma": np.ones(CHANNELS, np.float32), "beta": np.zeros(CHANNELS, np.float32)}
    made = make_model(nodes, SHAPES["x"], scale=np.float32(0.03), zero=np.uint8(128), **norm, **constants)
    made.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return made


def mlp(*extra: onnx.NodeProto) -> onnx.ModelProto:
    """Return x + MLP(x) as f2edge writes it for ONNX Runtime, and further nodes."""
    nodes = [
        helper.make_node("LayerNormalization", ["x", "gamma", "beta"], ["n"], axis=-1),
        helper.make_node("QuantizeLinear", ["n", "scale", "zero"], ["q"]),
        product("h", "q"),
        helper.make_node("Gelu", ["h"], ["g"], domain=MICROSOFT),
        helper.make_node("Mul", ["g", "factors"], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "scale", "zero"], ["q2"]),
        product("o", "q2"),
        helper.make_node("Add", ["x", "o"], ["y"]),
    ]
    factors = RNG.uniform(0.5, 2, (1, CHANNELS)).astype(np.float32)
    return model([*extra, *nodes], "h", "o", factors=factors)


def attention(order: list[int], rows: list[int]) -> onnx.ModelProto:
    """Return x + the attention within windows.

    Args:
        order: of the sizes (1, window rows, height, window columns, width, channels), for the windows.
        rows: (windows, tokens of each, channels), for the attention.
    """
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["u8"]),
        helper.make_node("Reshape", ["u8", "split"], ["s"]),
        helper.make_node("Transpose", ["s"], ["t"], perm=order),
        helper.make_node("Reshape", ["t", "flat"], ["q"]),
        *(product(name, "q") for name in "abc"),
        *(helper.make_node("Reshape", [name, "rows"], [f"{name}3"]) for name in "abc"),
        helper.make_node("MultiHeadAttention", ["a3", "b3", "c3"], ["m"], domain=MICROSOFT, num_heads=2, scale=1.0),
        helper.make_node("QuantizeLinear", ["m", "scale", "zero"], ["mq"]),
        helper.make_node("Reshape", ["mq", "any"], ["r"]),
        product("o", "r"),
        helper.make_node("Reshape", ["o", "windows"], ["w"]),
        helper.make_node("Transpose", ["w"], ["v"], perm=order),
        helper.make_node("Reshape", ["v", "flat"], ["z"]),
        helper.make_node("Add", ["z", "x"], ["y"]),
    ]
    sizes = np.array([1, HEIGHT // WINDOW, WINDOW, WIDTH // WINDOW, WINDOW, CHANNELS])
    return model(
        nodes,
        *"abco",
        split=sizes,
        windows=sizes[[0, 1, 3, 2, 4, 5]],
        flat=np.array([ROWS, CHANNELS]),
        any=np.array([-1, CHANNELS]),
        rows=np.array(rows),
    )


def tokens() -> FloatArray:
    """Return tokens for these graphs."""
    return RNG.standard_normal(SHAPES["x"]).astype(np.float32)


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize(
    "graph",
    [mlp(), attention([0, 1, 3, 2, 4, 5], [ROWS // WINDOW**2, WINDOW**2, CHANNELS])],
    ids=["mlp", "windows"],
)
def test_the_result_is_the_same(graph: onnx.ModelProto, unsigned: bool) -> None:
    """An MLP and the attention within windows become the body of a ``Scan``, which holds all its weights itself."""
    x = tokens()
    whole = run(graph, x, unsigned=unsigned)
    run_in_chunks(graph, SHAPES)
    assert kinds(graph) == {"Reshape": 2, "Scan": 1}
    outer, body = graphs(graph.graph)
    assert TensorProto.INT8 not in {tensor.data_type for tensor in outer.initializer}
    assert body.input[0].type.tensor_type.shape.dim[0].dim_value == ROWS // 3
    np.testing.assert_array_equal(run(graph, x, unsigned=unsigned), whole)


def test_weights_in_the_body_become_unsigned(tmp_path: Path) -> None:
    """Without VNNI, ONNX Runtime turns as many weights into unsigned ones as in the graph that is whole."""
    graph = mlp()
    signed = []
    for name in ("whole", "chunks"):
        onnx.save(graph, tmp_path / f"{name}.onnx")
        loaded = optimized(tmp_path / f"{name}.onnx", tmp_path / f"{name}.optimized.onnx").graph
        signed.append(
            sum(tensor.data_type == TensorProto.INT8 for each in graphs(loaded) for tensor in each.initializer)
        )
        run_in_chunks(graph, SHAPES)
    assert kinds(graph)["Scan"]
    assert signed[0] == signed[1]


def other_reader() -> onnx.ModelProto:
    """Return an MLP whose norm is read behind it, too."""
    graph = mlp()
    graph.graph.node[-1].output[0] = "sum"
    graph.graph.node.append(helper.make_node("Add", ["n", "sum"], ["y"], "node_y"))
    return graph


@pytest.mark.parametrize(
    "graph",
    [
        attention([0, 1, 3, 2, 4, 5], [1, ROWS, CHANNELS]),
        attention([0, 3, 1, 2, 4, 5], [ROWS // WINDOW**2, WINDOW**2, CHANNELS]),
        other_reader(),
    ],
    ids=["among all tokens", "another order", "another reader"],
)
def test_what_depends_on_other_rows_stays_whole(graph: onnx.ModelProto) -> None:
    """So does a layer one of whose values is read by others."""
    before = kinds(graph)
    run_in_chunks(graph, SHAPES)
    assert kinds(graph) == before


@pytest.mark.parametrize(
    ("limit", "value"), [("_CACHE", ROWS * CHANNELS * 4), ("_ROWS", ROWS // 2)], ids=["fits the cache", "few tokens"]
)
def test_small_layers_stay_whole(limit: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that fits into the cache, or whose chunks would be small, is not split."""
    monkeypatch.setattr(chunks, limit, value)
    graph = mlp()
    run_in_chunks(graph, SHAPES)
    assert not kinds(graph)["Scan"]


def test_a_shape_that_is_not_known() -> None:
    """Rows whose number depends on the input are not split."""
    graph = mlp()
    run_in_chunks(graph, {"x": (0, CHANNELS)})
    run_in_chunks(graph, {})
    run_in_chunks(graph, {"x": (1, ROWS, CHANNELS)})
    assert not kinds(graph)["Scan"]
