"""Graphs that are quantized in pieces: where they are cut, that nothing changes, and that work can go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from f2edge.bundle.manifest import open_bundle
from f2edge.calibration.recorder import Records
from f2edge.quantize.onnx_files import WeightFile, save_onnx
from f2edge.quantize.pieces import Cutter, extract, infer_types, join
from f2edge.quantize.ptq import quantize
from f2edge.quantize.tables import share_table
from tests.support.onnx_graphs import check_equal, make_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WIDTH = 4


def pieces_of(model: onnx.ModelProto, floats: Sequence[str] = (), limit: int = 0) -> list[list[str]]:
    """Return the outputs of the nodes of each piece."""
    types = infer_types(model, {"x": np.zeros((2, WIDTH), np.float32)})
    return [[node.output[0] for node in piece.nodes] for piece in Cutter(model.graph, types, floats).pieces(limit)]


def residual(*reader: onnx.NodeProto) -> onnx.ModelProto:
    """Return a graph that adds a product to its input; ``reader`` gets the sum, "sum", and computes y."""
    weights = {"w": np.ones((WIDTH, WIDTH), np.float32), "b": np.ones(WIDTH, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Add", ["product", "b"], ["biased"]),
        helper.make_node("Add", ["x", "biased"], ["sum"]),
        *reader,
    ]
    return make_model(nodes, (2, WIDTH), **weights)


def test_a_graph_is_cut_behind_a_sum_of_the_residual_stream() -> None:
    """A layer norm reads the sum, so no quantizer is there; a product and its bias stay together."""
    norm = helper.make_node("LayerNormalization", ["sum", "b"], ["y"])
    assert pieces_of(residual(norm)) == [["product", "biased", "sum"], ["y"]]


def test_no_cut_where_a_product_reads_the_sum() -> None:
    """The input of a product is quantized, also if it is reshaped before, unless the product stays float."""
    product = helper.make_node("MatMul", ["sum", "w"], ["y"])
    assert len(pieces_of(residual(product))) == 1
    assert len(pieces_of(residual(product), floats=["node_y"])) == 2
    turned = [
        helper.make_node("Transpose", ["sum"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["w", "turned"], ["y"]),
    ]
    assert len(pieces_of(residual(*turned))) == 1


def test_a_result_on_the_way_is_no_obstacle() -> None:
    """A tensor that only becomes a result, at the end of the graph, does not keep what follows it in one piece."""
    nodes = [
        helper.make_node("LayerNormalization", ["sum", "b"], ["normed"]),
        helper.make_node("MatMul", ["normed", "w"], ["second"]),
        helper.make_node("Add", ["sum", "second"], ["y"]),
        helper.make_node("LayerNormalization", ["y", "b"], ["end"]),
        helper.make_node("Transpose", ["sum"], ["map"], perm=[1, 0]),
    ]
    model = residual(*nodes)
    assert [len(piece) for piece in pieces_of(model)] == [3, 5]  # the transposed sum is no result yet
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("end", "map"))
    assert [len(piece) for piece in pieces_of(model)] == [3, 3, 2]


def test_a_tensor_of_unknown_size_counts_as_the_largest() -> None:
    """Where the size of a graph's tensors cannot be inferred, its pieces do not grow beyond the limit."""
    norm = helper.make_node("LayerNormalization", ["sum", "b"], ["y"])
    model = residual(norm)
    known = infer_types(model, {"x": np.zeros((2, WIDTH), np.float32)})
    unknown = {name: value if name == "x" else onnx.ValueInfoProto(name=name) for name, value in known.items()}
    for name in unknown.keys() - {"x"}:
        unknown[name].type.tensor_type.elem_type = TensorProto.FLOAT
        unknown[name].type.tensor_type.shape.dim.add()
    pieces = [[len(piece.nodes) for piece in Cutter(model.graph, types, ()).pieces(160)] for types in (known, unknown)]
    assert pieces == [[3, 1], [3, 1]]


def test_pieces_are_as_large_as_the_limit_allows() -> None:
    """With room for all of it a graph is one piece."""
    norm = helper.make_node("LayerNormalization", ["sum", "b"], ["y"])
    assert len(pieces_of(residual(norm), limit=2**40)) == 1


def test_pieces_get_their_weights_from_the_file(tmp_path: Path) -> None:
    """A graph whose weights are in a file beside it is cut without them; each piece reads its own."""
    large = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    path = save_onnx(make_model([node], (2, 64), w=large), tmp_path / "g.onnx", WeightFile(tmp_path / "weights"))[0]
    model = onnx.load(path, load_external_data=False)
    (piece,) = Cutter(model.graph, infer_types(model, {"x": large[:2]}), ()).pieces()
    weights = extract(model, piece, tmp_path).graph.initializer[0]
    assert np.array_equal(numpy_helper.to_array(weights), large)


def test_a_shared_constant_that_one_piece_changes(tmp_path: Path) -> None:
    """Each piece keeps its own: NNCF corrects biases in place, and the exporter stores equal ones once."""
    model = onnx.shape_inference.infer_shapes(residual(helper.make_node("LayerNormalization", ["sum", "b"], ["y"])))
    pieces = Cutter(model.graph, infer_types(model, {"x": np.zeros((2, WIDTH), np.float32)}), ()).pieces(0)
    parts = [extract(model, piece, tmp_path) for piece in pieces]
    bias = next(tensor for tensor in parts[0].graph.initializer if tensor.name == "b")
    bias.CopyFrom(numpy_helper.from_array(np.full(WIDTH, 7, np.float32), "b"))
    graph = join(model, parts).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    read = {node.output[0]: values[node.input[1]] for node in graph.node if node.output[0] in ("biased", "y")}
    assert set(read["biased"]) == {7}
    assert set(read["y"]) == {1}


class Interrupted(BaseException):
    """The interruption of a process."""


@pytest.mark.parametrize(("component", "limit"), [("vision", 3 << 20), ("encoder", 1 << 19)])
def test_pieces_give_what_the_whole_graph_gives(
    component: str, limit: int, tiny_int8: Path, tiny_quantized: dict[str, Path], tmp_path: Path
) -> None:
    """Node for node the same graph, with the same weights and scales, after an interruption, too."""
    source = next(tiny_int8.glob(f"stages/export-{component}-*/{component}.onnx"))
    geometry = open_bundle(tiny_int8 / "bundle").geometry
    records = Records(next(tiny_int8.glob("stages/record-*")), geometry)

    def break_off(done: int, _count: int) -> None:
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        quantize(component, source, records, tmp_path, progress=break_off, limit=limit)
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.onnx")}
    assert len(finished) == 2
    pieces = quantize(component, source, records, tmp_path, limit=limit)
    if component == "encoder":
        share_table(pieces.graph, onnx.load(tiny_quantized["decoder"]).graph)
    assert finished.items() <= {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.onnx")}.items()
    whole = onnx.load(tiny_quantized[component])  # small graphs are one piece
    check_equal(pieces.graph, whole.graph)
