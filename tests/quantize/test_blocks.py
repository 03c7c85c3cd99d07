"""Blocks of a quantized graph that are restored to float, and tables whose rows are read in INT8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from f2edge.bundle.manifest import COMPONENTS
from f2edge.quantize.blocks import block_of, keep_float, multiplications, quantized_blocks
from f2edge.quantize.policy import POLICIES
from f2edge.quantize.tables import SHARED

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray


@pytest.fixture(scope="module")
def finished_stages(tiny_int8: Path) -> Path:
    """Return the directory of the finished stages of a compilation in INT8."""
    return tiny_int8 / "stages"


def load(stages: Path, kind: str, component: str) -> onnx.ModelProto:
    """Load the graph of a component from a stage, "export" or "quantize"."""
    (path,) = stages.glob(f"{kind}-{component}-*/{component}.onnx")
    return onnx.load(path)


def features(model: onnx.ModelProto) -> FloatArray:
    """Return the vision graph's output for noise."""
    session = ort.InferenceSession(model.SerializeToString())
    pixels = np.random.default_rng(0).standard_normal((1, 3, 96, 96)).astype(np.float32)
    return session.run(None, {"pixel_values": pixels})[0]  # type: ignore[no-any-return]


def test_names_of_blocks() -> None:
    """Blocks are recognized from the names that the exporter gives nodes after their modules."""
    assert block_of("vision_tower.blocks.2.0.channel_block.ffn.fc1/node_MatMul_7") == (
        "vision_tower.blocks.2.0.channel_block"
    )
    assert block_of("vision_tower.convs.1.conv/node_conv2d_4") == "vision_tower.convs.1"
    assert block_of("decoder.layers.11.encoder_attn.v_proj/node_MatMul_1") == "decoder.layers.11"
    assert block_of("node_Gemm_3") == "head"


def test_the_policy_keeps_blocks_float(finished_stages: Path) -> None:
    """The float blocks of the policy contain no INT8 operation."""
    blocks = quantized_blocks(load(finished_stages, "quantize", "vision"))
    assert "vision_tower.convs.3" in blocks
    assert not set(POLICIES["vision"].float_blocks).intersection(blocks)


@pytest.mark.parametrize("component", COMPONENTS)
def test_restoring_all_blocks_gives_the_float_graph(component: str, finished_stages: Path) -> None:
    """All weights equal the float graph's bit by bit; NNCF's corrections, scales and nodes are gone."""
    source, quantized = load(finished_stages, "export", component), load(finished_stages, "quantize", component)
    blocks = quantized_blocks(quantized)
    assert len(blocks) >= 3
    restored = keep_float(quantized, source, blocks)
    assert quantized_blocks(restored) == []
    ours = {tensor.name: numpy_helper.to_array(tensor) for tensor in restored.graph.initializer}
    for tensor in source.graph.initializer:
        if tensor.name in ours:
            np.testing.assert_array_equal(ours[tensor.name], numpy_helper.to_array(tensor))
    if component == "vision":
        np.testing.assert_array_equal(features(restored), features(source))


def test_one_block_in_float_is_nearer_to_the_float_graph(finished_stages: Path) -> None:
    """If some blocks are restored, the error falls, and the others stay INT8."""
    source, quantized = load(finished_stages, "export", "vision"), load(finished_stages, "quantize", "vision")
    blocks = quantized_blocks(quantized)
    restored = keep_float(quantized, source, blocks[2:])
    assert quantized_blocks(restored) == blocks[:2]
    truth = features(source)
    errors = [np.linalg.norm(features(model) - truth) for model in (restored, quantized)]
    assert 0 < errors[0] < errors[1]


def test_prompts_and_answers_share_one_table(finished_stages: Path) -> None:
    """The encoder reads the decoder's INT8 rows, and neither dequantizes the whole table."""
    tables = []
    for component in ("encoder", "decoder"):
        graph = load(finished_stages, "quantize", component).graph
        tables.append({t.name: t.raw_data for t in graph.initializer if t.name.startswith(SHARED)})
        dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
        assert not [n.name for n in graph.node if n.op_type == "Gather" and n.input[0] in dequantized]
    assert tables[0].keys() == {f"{SHARED}_quantized", f"{SHARED}_scale"}
    assert all(tables[1][name] == data for name, data in tables[0].items())


def test_multiplications_are_counted_by_block() -> None:
    """Counted are a product of (2, 3) by (3, 5), and a 3x3 convolution from 4 to 6 channels on a 7x7 map."""
    helper = onnx.helper
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], "encoder.layers.0.fc1/a"),
        helper.make_node("Conv", ["p", "k"], ["q"], "vision_tower.convs.1.conv/b"),
    ]
    weights = [
        numpy_helper.from_array(np.zeros((3, 5), np.float32), "w"),
        numpy_helper.from_array(np.zeros((6, 4, 3, 3), np.float32), "k"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], [], weights))
    shapes = {"x": (2, 3), "y": (2, 5), "p": (1, 4, 7, 7), "q": (1, 6, 7, 7)}
    assert multiplications(model, shapes) == {
        "encoder.layers.0": 2 * 3 * 5,
        "vision_tower.convs.1": 6 * 49 * 4 * 9,
    }
