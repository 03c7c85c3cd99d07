"""INT8 of fixed shapes answers as the dynamic graphs in INT8 do, in both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

import f2edge
from f2edge.bundle.golden import relative_error
from f2edge.decoding import generate
from f2edge.quantize.onnx_files import QUANTIZING
from f2edge.runtimes.fixed_shapes import StaticRuntime
from f2edge.runtimes.onnxruntime.runtime import load_graphs
from tests.support.checkpoints import TINY
from tests.support.openvino_graphs import in_openvino, without_dynamic_quantization
from tests.support.searches import random_question, random_settings

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.engine import PromptSession, Runtime

CASES = 30


@pytest.fixture(scope="module")
def bundle(tiny_npu_int8: Path) -> Bundle:
    """Return the bundle of fixed shapes."""
    return f2edge.open_bundle(tiny_npu_int8 / "bundle")


@pytest.fixture(scope="module")
def fixed(tiny_npu_int8: Path, tiny_quantized: dict[str, Path]) -> dict[str, Path]:
    """Return the INT8 graphs of fixed shapes by component, with Q/DQ nodes."""
    stages = tiny_npu_int8 / "stages"
    (encoder,) = stages.glob("fix-encoder-*/encoder.onnx")
    known = tiny_quantized["decoder"].parent.name
    (decoder,) = (path for path in stages.glob("quantize-decoder-*/decoder.onnx") if path.parent.name != known)
    return tiny_quantized | {"encoder": encoder, "decoder": decoder}


def test_the_bundle_says_what_it_is(bundle: Bundle) -> None:
    """The manifest has the precision, that pictures were used, and the fixed shapes; its verification passed."""
    assert {component.precision for component in bundle.components.values()} == {"int8"}
    assert bundle.recipe.calibrated
    assert bundle.recipe.static_shapes is not None
    assert bundle.verified.passed
    answer = f2edge.load(bundle.path, "CPU").run(np.full((40, 60, 3), 90, np.uint8), "caption", max_new_tokens=8)
    assert len(answer.token_ids) > 1


def test_the_scales_are_those_of_the_dynamic_graphs(fixed: dict[str, Path], tiny_quantized: dict[str, Path]) -> None:
    """The tower is the same file; encoder and decoder have the weights and scales of the dynamic graphs."""
    assert fixed["vision"] == tiny_quantized["vision"]
    for component in ("encoder", "decoder"):
        ours, theirs = (integers_and_scales(graphs[component]) for graphs in (fixed, tiny_quantized))
        assert ours == theirs


def integers_and_scales(graph: Path) -> list[bytes]:
    """Return what quantizes and dequantizes in a graph, sorted; traces may name it in another way."""
    model = onnx.load(graph)
    nodes = [node for node in model.graph.node if node.op_type in QUANTIZING]
    wanted = {name for node in nodes for name in node.input}
    return sorted(tensor.raw_data for tensor in model.graph.initializer if tensor.name in wanted)


def in_both(engine: str, graphs: list[dict[str, Path]], directory: Path) -> list[Runtime]:
    """Open the dynamic graphs and those of fixed shapes in an engine."""
    if engine == "onnxruntime":
        return [load_graphs(each) for each in graphs]
    return [in_openvino(each, directory / str(n), TINY.decoder_layers) for n, each in enumerate(graphs)]


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_answers_are_those_of_the_dynamic_graphs(
    engine: str,
    bundle: Bundle,
    fixed: dict[str, Path],
    tiny_quantized: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random questions with random settings get identical tokens, but for the rare one whose encoder rounds otherwise.

    All float operations run in fp32 and activations of the decoder stay float, since either would round differently.
    """
    without_dynamic_quantization(monkeypatch)
    assert bundle.recipe.static_shapes
    dynamic, static = in_both(engine, [tiny_quantized, fixed], tmp_path)
    padded = StaticRuntime(static, bundle.recipe.static_shapes)
    rng, lengths, moved = np.random.default_rng(7), [], 0
    for case in range(CASES):
        pixels, prompt = random_question(rng, TINY.image_size)
        settings = random_settings(rng, bundle.generation)
        sessions = [each.start(each.encode_image(pixels), np.array(prompt)) for each in (dynamic, padded)]
        expected, answer = (generate(session, settings) for session in sessions)
        if same_levels(*sessions):
            assert answer.token_ids == expected.token_ids, (case, settings)
            lengths.append(len(answer.token_ids))
        else:
            moved += 1
    assert max(lengths) > 40
    assert moved <= CASES // 10


def same_levels(one: PromptSession, other: PromptSession) -> bool:
    """Tell whether two encoders rounded all activations to the same levels.

    A sum over padded positions has another order, so its last bit may differ; next to the border between two levels
    of INT8 that moves a value to another level, an error of a percent (docs/int8.md).
    """
    pairs = zip(one.cross_key_values(), other.cross_key_values(), strict=True)
    return all(relative_error(computed, expected) < 1e-5 for computed, expected in pairs)
