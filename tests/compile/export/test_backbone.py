"""The graph of a backbone: of a fixed size it is the answers' tower to the last bit, of open size within rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from f2edge.bundle.levels import levels_of
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.export.backbone import backbone_graph
from f2edge.compile.export.graphs import export
from tests.support.checkpoints import TINY

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray

PIXELS = np.random.default_rng(0).standard_normal((1, 3, *TINY.image_size)).astype(np.float32)


def run(graph: Path, outputs: list[str] | None = None) -> dict[str, Any]:
    """Run a graph in ONNX Runtime on one thread, without its own fusions, so that equal graphs compute alike."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph, options)
    names = outputs or [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixel_values": PIXELS}), strict=True))


def into_projector(graph: Path, folder: Path) -> FloatArray:
    """Return what the tower of the answers' vision graph passes on: (rows, C)."""
    model = onnx.load(graph)
    made = {name: node.name for node in model.graph.node for name in node.output}
    name = next(
        name
        for node in model.graph.node
        if not node.name.startswith("vision_tower")
        for name in node.input
        if made.get(name, "").startswith("vision_tower")
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    onnx.save(model, folder / "with_map.onnx")
    return np.asarray(run(folder / "with_map.onnx", [name])[name]).reshape(-1, TINY.vision.embed_dim[-1])


@pytest.fixture(scope="module")
def expected(tiny_jetson_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> FloatArray:
    """Return the rows that the answers' graph gives its projector."""
    return into_projector(tiny_jetson_bundle / "vision.onnx", tmp_path_factory.mktemp("vision"))


def rows_of(c5: FloatArray) -> FloatArray:
    """Return a map (1, C, H, W) as rows (H * W, C)."""
    return c5.transpose(0, 2, 3, 1).reshape(-1, TINY.vision.embed_dim[-1])


def test_the_last_map_of_a_fixed_size(expected: FloatArray, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """c5 of a fixed size is, to the last bit, what the answers' graph gives its projector."""
    model = load_checkpoint(tiny_checkpoint).model
    export(backbone_graph(model, levels_of(TINY.vision), TINY.image_size), tmp_path / "backbone.onnx")
    maps = run(tmp_path / "backbone.onnx")
    assert list(maps) == ["c2", "c3", "c4", "c5"]
    np.testing.assert_array_equal(rows_of(maps["c5"]), expected)


def test_the_last_map_of_open_size(expected: FloatArray, tiny_onnx_backbone: Path) -> None:
    """c5 of open size is within 1e-5 of it: a scale that depends on the size cannot be a part of the weights."""
    rows = rows_of(run(tiny_onnx_backbone / "backbone.onnx")["c5"])
    assert float(np.abs(rows - expected).max() / np.abs(expected).max()) < 1e-5
