"""The three ONNX graphs equal the reference, and have the properties that engines rely on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.export import graphs as module
from f2edge.compile.export.graphs import NUM_CANDIDATES, export, graphs, layer_names
from f2edge.compile.onnxruntime.convert import compile_onnx
from f2edge.errors import CompileError
from f2edge.quantize.onnx_files import WeightFile
from tests.support.checkpoints import TINY

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from f2edge.compile.reference.model import ReferenceModel

LAYERS, HEADS, WIDTH = TINY.decoder_layers, TINY.decoder_attention_heads, TINY.decoder_head_dim
GRAPHS = ("vision", "encoder", "decoder")


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> ReferenceModel:
    """Return the reference model."""
    return load_checkpoint(tiny_checkpoint).model


@pytest.fixture(scope="module")
def sessions(tiny_jetson_bundle: Path) -> dict[str, Any]:
    """Open the exported graphs in ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return {name: ort.InferenceSession(tiny_jetson_bundle / f"{name}.onnx", options) for name in GRAPHS}


@pytest.fixture(scope="module")
def protos(tiny_jetson_bundle: Path) -> dict[str, onnx.ModelProto]:
    """Load the exported graphs without their weights."""
    return {name: onnx.load(tiny_jetson_bundle / f"{name}.onnx", load_external_data=False) for name in GRAPHS}


def run(session: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return all outputs by name."""
    outputs = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return {output.name: torch.from_numpy(value) for output, value in zip(session.get_outputs(), outputs, strict=True)}


def relative(computed: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest expected value; check shape and dtype."""
    assert computed.shape == expected.shape
    assert computed.dtype == expected.dtype
    return float((computed - expected).abs().max() / expected.abs().max())


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Return normal random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def test_vision(model: ReferenceModel, sessions: dict[str, Any]) -> None:
    """The vision graph turns pixels into the reference's image features."""
    pixels = noise(1, 3, *TINY.image_size)
    outputs = run(sessions["vision"], {"pixel_values": pixels})
    assert relative(outputs["image_features"], model.encode_image(pixels)) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 40, TINY.max_prompt_tokens])
def test_encoder(length: int, model: ReferenceModel, sessions: dict[str, Any]) -> None:
    """The encoder graph gives the reference's keys and values for prompts of any length."""
    features = noise(1, TINY.num_image_tokens, TINY.d_model)
    ids = torch.arange(length)[None] * 37 % TINY.vocab_size
    outputs = run(sessions["encoder"], {"image_features": features, "input_ids": ids})
    expected = [t for pair in model.decoder.cross_key_values(model.encode(features, ids)) for t in pair]
    assert list(outputs) == layer_names("cross", LAYERS)
    for ours, theirs in zip(outputs.values(), expected, strict=True):
        assert relative(ours, theirs) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 40])
@pytest.mark.parametrize(("previous", "beams"), [(1, 1), (1, 3), (3, 3), (3, 5), (5, 1), (5, 2)])
def test_decoder(length: int, previous: int, beams: int, model: ReferenceModel, sessions: dict[str, Any]) -> None:
    """A step after ``length`` others, from ``previous`` beams to ``beams``, gives the reference's scores and state."""
    tokens, parents = torch.arange(beams) * 311 + 5, (torch.arange(beams) * 2 + 1) % previous
    past = {n: noise(previous, HEADS, length, WIDTH, seed=i) for i, n in enumerate(layer_names("past", LAYERS))}
    cross = {n: noise(1, HEADS, 17 + beams, WIDTH, seed=9 + i) for i, n in enumerate(layer_names("cross", LAYERS))}
    position = torch.tensor([length])
    outputs = run(
        sessions["decoder"], {"input_ids": tokens, "position": position, "beam_idx": parents, **past, **cross}
    )
    ordered = [tensor[parents] for tensor in past.values()]
    logits, present = model.step(
        tokens[:, None], position, pairs(ordered) if length else None, pairs(list(cross.values()))
    )
    assert relative(outputs["logits"], logits) < 1e-5
    assert relative(outputs["log_sum_exp"], logits.logsumexp(-1)) < 1e-5
    assert relative(outputs["candidate_logits"], logits.topk(NUM_CANDIDATES).values) < 1e-5
    assert torch.equal(outputs["logits"].gather(1, outputs["candidate_ids"]), outputs["candidate_logits"])
    for name, tensor in zip(layer_names("present", LAYERS), (t for pair in present for t in pair), strict=True):
        assert relative(outputs[name], tensor) < 1e-5
        assert torch.equal(outputs[name][:, :, :length], ordered[layer_names("present", LAYERS).index(name)])


def pairs(flat: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Group keys and values by layer."""
    return list(zip(flat[::2], flat[1::2], strict=True))


def test_log_sum_exp_of_logits_far_apart(model: ReferenceModel) -> None:
    """The log-sum-exp does not overflow for logits whose exp would."""
    graph = module.DecoderGraph(model, 4)
    for offset in (-300.0, 300.0):
        model.final_logits_bias += offset
        cross = [noise(1, HEADS, 5, WIDTH) for _ in range(2 * LAYERS)]
        past = [torch.zeros(1, HEADS, 0, WIDTH) for _ in range(2 * LAYERS)]
        outputs = graph(torch.tensor([2]), torch.tensor([0]), torch.tensor([0]), past, cross)
        torch.testing.assert_close(outputs[2], outputs[3].logsumexp(-1))
        model.final_logits_bias -= offset


def test_the_opset_is_that_of_layer_normalization(protos: dict[str, onnx.ModelProto]) -> None:
    """Graphs use opset 17 or later, only ONNX's own operators, and no functions."""
    for proto in protos.values():
        assert [(entry.domain, entry.version >= 17) for entry in proto.opset_import] == [("", True)]
        assert {node.domain for node in proto.graph.node} == {""}
        assert not proto.functions


def test_each_layer_norm_is_one_node(model: ReferenceModel, protos: dict[str, onnx.ModelProto]) -> None:
    """Each layer norm is one node, for which engines have a kernel and which quantization recognizes."""
    parts: dict[str, list[torch.nn.Module]] = {
        "vision": [model.vision_tower, model.multi_modal_projector],
        "encoder": [model.encoder],
        "decoder": [model.decoder],
    }
    for name, modules in parts.items():
        norms = sum(isinstance(m, torch.nn.LayerNorm) for part in modules for m in part.modules())
        nodes = [node.op_type for node in protos[name].graph.node]
        assert nodes.count("LayerNormalization") == norms > 4
        assert "ReduceMean" not in nodes or name == "vision"  # the projector's mean token


def dims(values: Any) -> dict[str, list[int | str]]:
    """Return the dimensions by tensor name: numbers if fixed, names if dynamic."""
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def test_dynamic_and_fixed_dimensions(protos: dict[str, onnx.ModelProto]) -> None:
    """Prompt, past, cross-attention and both beam counts are dynamic; all other dimensions are fixed."""
    tokens, d = TINY.num_image_tokens, TINY.d_model
    vision, encoder, decoder = (protos[name].graph for name in GRAPHS)
    assert dims(vision.input) == {"pixel_values": [1, 3, *TINY.image_size]}
    assert dims(vision.output) == {"image_features": [1, tokens, d]}
    assert dims(encoder.input) == {"image_features": [1, tokens, d], "input_ids": [1, "prompt"]}
    assert list(dims(encoder.output)) == layer_names("cross", LAYERS)
    inputs, outputs = dims(decoder.input), dims(decoder.output)
    assert list(inputs) == [
        "input_ids",
        "position",
        "beam_idx",
        *layer_names("past", LAYERS),
        *layer_names("cross", LAYERS),
    ]
    assert (inputs["input_ids"], inputs["position"], inputs["beam_idx"]) == (["beams"], [1], ["beams"])
    for name in layer_names("past", LAYERS):
        assert inputs[name] == ["previous_beams", HEADS, "past", WIDTH]
    for name in layer_names("cross", LAYERS):
        assert inputs[name] == [1, HEADS, "states", WIDTH]
    assert outputs["candidate_ids"] == outputs["candidate_logits"] == ["beams", NUM_CANDIDATES]
    assert (outputs["log_sum_exp"], outputs["logits"]) == (["beams"], ["beams", TINY.vocab_size])
    assert [outputs[name][::2] for name in layer_names("present", LAYERS)] == [["beams", "past + 1"]] * 2 * LAYERS


def test_weights_are_in_a_file_beside_the_graph(protos: dict[str, onnx.ModelProto], tiny_jetson_bundle: Path) -> None:
    """Weights are external, because protobuf limits a file to 2 GB; the graph itself stays small."""
    for name, proto in protos.items():
        inside = [t.name for t in proto.graph.initializer if t.data_location != TensorProto.EXTERNAL]
        sizes = {t.name: int(np.prod(t.dims)) for t in proto.graph.initializer}
        assert [tensor for tensor in inside if sizes[tensor] > 256] == []
        assert {e.value for t in proto.graph.initializer for e in t.external_data if e.key == "location"} == {
            "weights.data"
        }
        assert (tiny_jetson_bundle / f"{name}.onnx").stat().st_size < 400_000


def test_no_trace_of_the_machine(protos: dict[str, onnx.ModelProto]) -> None:
    """The graphs lack the source lines and paths that the exporter writes for every node."""
    for proto in protos.values():
        text = proto.SerializeToString()
        assert b".py" not in text
        assert b"stack_trace" not in text


def half_of(path: Path, weight: np.ndarray[Any, Any]) -> onnx.ModelProto:
    """Return a one-layer graph with its weights stored in half precision."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value("x", TensorProto.FLOAT, [1, len(weight)])],
        [value("y", TensorProto.FLOAT, [1, weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path / "g.onnx")
    files = compile_onnx(path / "g.onnx", path / "half.onnx", WeightFile(path / "weights.data"), fp16=True)
    assert files == [path / "half.onnx", path / "weights.data"]
    assert all(file.is_file() for file in files)
    return onnx.load(path / "half.onnx")


def test_half_precision_only_affects_storage(tmp_path: Path) -> None:
    """Weights are stored in fp16, and the product is computed in fp32."""
    weight = noise(40, 50).numpy()
    (tensor,) = half_of(tmp_path, weight).graph.initializer
    assert tensor.data_type == TensorProto.FLOAT16
    x = noise(1, 40).numpy()
    (product,) = ort.InferenceSession(tmp_path / "half.onnx").run(None, {"x": x})
    np.testing.assert_allclose(product, x @ weight.astype(np.float16).astype(np.float32), rtol=1e-5, atol=1e-5)


def test_a_weight_beyond_half_precision(tmp_path: Path) -> None:
    """A weight too large for fp16 is named, with what to do."""
    weight = noise(40, 50).numpy()
    weight[3, 4] = 1e5
    with pytest.raises(CompileError, match=r"weight w does not fit into fp16; use `precision` fp32"):
        half_of(tmp_path, weight)


@pytest.mark.parametrize("message", ["Failed\nat line 1\nand so on", "", " \n"])
def test_an_export_that_fails_is_one_line(
    message: str, model: ReferenceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any error of torch becomes one line, and the exporter's logger keeps its level."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch.onnx, "export", fail)
    before = logging.getLogger("torch.onnx").level
    with pytest.raises(CompileError, match=r"exporting vision to ONNX failed: \S") as error:
        export(graphs(model)["vision"], tmp_path / "vision.onnx")
    assert "\n" not in str(error.value)
    assert logging.getLogger("torch.onnx").level == before
