"""The decoder's weights in INT4: only standard operators, which every engine takes, and results that agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import tensorrt_rtx
from onnx import TensorProto

from f2edge.bundle.golden import relative_error
from f2edge.bundle.manifest import COMPONENTS, open_bundle
from f2edge.calibration.recorder import Records
from f2edge.compile.openvino.convert import compile_openvino
from f2edge.compile.tensorrt.convert import compile_tensorrt
from f2edge.placement import Placement
from f2edge.quantize.onnx_files import WeightFile, save_onnx
from f2edge.quantize.ptq import quantize
from f2edge.runtimes.onnxruntime import runtime as onnxruntime
from f2edge.runtimes.openvino.loading import LoadPlan
from f2edge.runtimes.openvino.runtime import OpenVINORuntime
from f2edge.runtimes.tensorrt.library import make_log
from f2edge.runtimes.tensorrt.profiles import profiles

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray
    from f2edge.engine import Runtime


@pytest.fixture(scope="module")
def decoder(tiny_jetson_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quantize the weights of the tiny model's decoder, which needs no calibration."""
    directory = tmp_path_factory.mktemp("int4")
    nothing = Records(directory, open_bundle(tiny_jetson_bundle).geometry)
    model = quantize("decoder", tiny_jetson_bundle / "decoder.onnx", nothing, directory, weights="int4")
    return save_onnx(model, directory / "decoder.onnx")[0]


def test_blocks_of_int4(decoder: Path) -> None:
    """Every linear layer has blocks of 64 INT4 weights; tables and head are INT8; there are no zero points."""
    model = onnx.load(decoder)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert {node.domain for node in model.graph.node} == {""}
    nodes = [node for node in model.graph.node if node.op_type == "DequantizeLinear"]
    narrow = [node for node in nodes if types[node.input[0]] == TensorProto.INT4]
    # In each of 2 layers: q, k and v in one; the output; q and the output of cross-attention; and two in the MLP.
    assert len(narrow) == 2 * 6
    assert {a.i for node in narrow for a in node.attribute if a.name == "block_size"} == {64}
    assert {types[node.input[0]] for node in nodes} == {TensorProto.INT4, TensorProto.INT8}
    zero_points = {node.input[2] for node in nodes if len(node.input) > 2}
    values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name in zero_points}
    assert not any(np.asarray(value, np.int8).any() for value in values.values())


def logits(runtime: Runtime) -> FloatArray:
    """Return the logits of a few steps."""
    pixels = np.random.default_rng(1).standard_normal((1, 3, 96, 96)).astype(np.float32)
    session = runtime.start(runtime.encode_image(pixels), np.array([0, 40, 300, 77, 2]))
    steps = [session.step(np.array([token]), np.array([0])).fetch_logits().copy() for token in (2, 0, 410, 900)]
    return np.concatenate(steps)


def test_engines_agree(decoder: Path, tiny_jetson_bundle: Path, tmp_path: Path) -> None:
    """The engines differ by less than INT4's own noise, although OpenVINO also rounds activations to 8 bits."""
    graphs = {name: tiny_jetson_bundle / f"{name}.onnx" for name in COMPONENTS}
    exact = logits(onnxruntime.load_graphs(graphs))
    graphs["decoder"] = decoder
    quantized = logits(onnxruntime.load_graphs(graphs))
    noise = relative_error(quantized, exact)
    assert 0.01 < noise < 0.3
    weights = WeightFile(tmp_path / "weights.bin")
    for name, path in graphs.items():
        compile_openvino(path, tmp_path / f"{name}.xml", weights, decoder_layers=2, fp16=False)
    plan = LoadPlan({name: tmp_path / f"{name}.xml" for name in COMPONENTS}, Placement.on("CPU"))
    other = OpenVINORuntime(plan)
    assert relative_error(logits(other), quantized) < noise / 2


def test_tensorrt_builds_an_engine(decoder: Path, tiny_jetson_bundle: Path, tmp_path: Path) -> None:
    """TensorRT's parser takes INT4 weights in blocks with positive scales."""
    bundle = open_bundle(tiny_jetson_bundle)
    profile = profiles(bundle.geometry, bundle.generation)["decoder"]
    (engine,) = compile_tensorrt(
        decoder,
        tmp_path,
        WeightFile(tmp_path / "weights.data"),
        tmp_path,
        target="rtx",
        precision="int8",
        profile=profile,
        compute_capabilities=(86,),
    )
    assert engine.stat().st_size > 100_000
    log = make_log(tensorrt_rtx)
    loaded = tensorrt_rtx.Runtime(log).deserialize_cuda_engine(engine.read_bytes())
    assert loaded is not None or "driver" in log.errors[0]
