"""Whole graphs for ONNX Runtime: no product is left in Q/DQ form, and the error is that of the Q/DQ graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from f2edge.bundle.golden import relative_error
from f2edge.bundle.manifest import COMPONENTS, open_bundle
from f2edge.calibration.recorder import Records
from f2edge.compile.onnxruntime import chunks
from f2edge.compile.onnxruntime.convert import compile_onnx
from f2edge.placement import Placement
from f2edge.quantize.onnx_files import SMALL, WeightFile, all_nodes, graphs
from f2edge.runtimes.onnxruntime import runtime as onnxruntime
from tests.support.checkpoints import TINY
from tests.support.onnx_graphs import UNSIGNED, kinds, optimized

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray

PRODUCTS = {"MatMul", "FusedMatMul", "Gemm", "FusedGemm", "Conv", "FusedConv"}
MLPS = {
    "vision": 2 * sum(TINY.vision.depths),
    "encoder": TINY.encoder_layers,
    "decoder": TINY.decoder_layers,
}


@pytest.mark.parametrize("component", COMPONENTS)
def test_no_product_in_q_dq_form(component: str, tiny_int8: Path, tmp_path: Path) -> None:
    """In the graph that ONNX Runtime runs, no product or convolution reads a dequantized tensor."""
    model = optimized(tiny_int8 / "bundle" / f"{component}.onnx", tmp_path / "optimized.onnx")
    nodes = list(all_nodes(model.graph))
    dequantized = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    assert [node.name for node in nodes if dequantized.intersection(node.input)] == []
    constants = {tensor.name for tensor in model.graph.initializer}
    floats = [n for n in nodes if n.op_type in PRODUCTS - {"Conv"} and constants.intersection(n.input)]
    assert [node.name for node in floats if "multi_modal_projector" not in node.name] == []
    assert kinds(model)["MatMulNBits" if component == "decoder" else "MatMulIntegerToFloat"]


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_gelu_is_one_operator(
    component: str, precision: str, tiny_int8: Path, tiny_onnx_bundle: Path, tmp_path: Path
) -> None:
    """Every MLP has a GELU in one node, in float graphs, too."""
    bundle = tiny_onnx_bundle if precision == "fp32" else tiny_int8 / "bundle"
    found = kinds(optimized(bundle / f"{component}.onnx", tmp_path / "optimized.onnx"))
    assert found["Gelu"] + found["BiasGelu"] == MLPS[component]
    assert found["Erf"] == 0


def outputs(graph: Path, inputs: dict[str, FloatArray], *, plain: bool = False) -> FloatArray:
    """Return all float outputs of a graph, one after the other; ``plain`` computes Q/DQ nodes in float."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.add_session_config_entry(UNSIGNED, "1")
    values = ort.InferenceSession(graph, options).run(None, inputs)
    return np.concatenate([value.ravel() for value in values if value.dtype == np.float32])


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_error_is_that_of_the_q_dq_graph(
    component: str, tiny_int8: Path, tiny_quantized: dict[str, Path], tiny_jetson_bundle: Path
) -> None:
    """The error against fp32 is that of the Q/DQ graph within a tenth; ``MatMulNBits`` adds its rounding to it."""
    records = Records(next(tiny_int8.glob("stages/record-*")), TINY)
    inputs = records.load(records.samples(component)[0])
    exact = outputs(tiny_jetson_bundle / f"{component}.onnx", inputs)
    expected = relative_error(outputs(tiny_quantized[component], inputs, plain=True), exact)
    rewritten = relative_error(outputs(tiny_int8 / "bundle" / f"{component}.onnx", inputs), exact)
    added = 0.01 if component == "decoder" else 0
    assert 0.9 * expected < rewritten < 1.1 * np.hypot(expected, added)


def test_a_tower_in_chunks(
    tiny_int8: Path, tiny_quantized: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose layers run in chunks, with weights in half precision beside it, gives the same, bit for bit."""
    records = Records(next(tiny_int8.glob("stages/record-*")), TINY)
    inputs = records.load(records.samples("vision")[0])
    monkeypatch.setattr(chunks, "_CACHE", 1 << 12)
    monkeypatch.setattr(chunks, "_ROWS", 1)
    compile_onnx(tiny_quantized["vision"], tmp_path / "chunks.onnx", WeightFile(tmp_path / "weights"), fp16=True)
    written = onnx.load(tmp_path / "chunks.onnx", load_external_data=False)
    assert kinds(written)["Scan"] == MLPS["vision"]  # the windows of this tower are padded
    constants = [tensor for graph in graphs(written.graph) for tensor in graph.initializer]
    assert not any(len(tensor.raw_data) >= SMALL for tensor in constants)
    whole = outputs(tiny_int8 / "bundle" / "vision.onnx", inputs)
    np.testing.assert_array_equal(outputs(tmp_path / "chunks.onnx", inputs), whole)


def test_weights_are_stored_once(tiny_int8: Path) -> None:
    """The look-ups of encoder and decoder and the decoder's head read the same bytes of the file of weights."""
    size = TINY.vocab_size * TINY.d_model
    places = set()
    for component in ("encoder", "decoder"):
        model = onnx.load(tiny_int8 / "bundle" / f"{component}.onnx", load_external_data=False)
        stored = [{entry.key: entry.value for entry in tensor.external_data} for tensor in model.graph.initializer]
        places |= {entry["offset"] for entry in stored if entry.get("length") == str(size)}
    assert len(places) == 1


def test_a_processor_without_vnni(tiny_int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the weights of tower and encoder become unsigned while they are loaded; elsewhere they stay signed."""
    settings: list[tuple[str, str]] = []

    class Options(ort.SessionOptions):  # type: ignore[misc]
        def add_session_config_entry(self, key: str, value: str) -> None:
            settings.append((key, value))
            super().add_session_config_entry(key, value)

    monkeypatch.setattr(onnxruntime.ort, "SessionOptions", Options)
    bundle = open_bundle(tiny_int8 / "bundle")
    for vnni, expected in ((False, [(UNSIGNED, "1")] * 2), (True, [])):
        settings.clear()
        monkeypatch.setattr(onnxruntime, "has_vnni", lambda vnni=vnni: vnni)
        onnxruntime.open_runtime(bundle, Placement.on("CPU"))
        assert settings == expected
