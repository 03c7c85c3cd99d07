"""An encoder graph for prompts of any length gets a prompt of fixed length, and a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from f2edge.compile.export.fixed_prompt import fix_prompt
from f2edge.errors import CompileError
from tests.support.checkpoints import TINY

if TYPE_CHECKING:
    from pathlib import Path

IMAGE, PROMPT = TINY.num_image_tokens, 20


@pytest.fixture(scope="module")
def encoders(tiny_quantized: dict[str, Path]) -> tuple[ort.InferenceSession, ort.InferenceSession]:
    """Return the INT8 encoder for prompts of any length, and the one for 20 tokens."""
    model = onnx.load(tiny_quantized["encoder"])
    dynamic = ort.InferenceSession(model.SerializeToString())
    fix_prompt(model, IMAGE, PROMPT)
    onnx.checker.check_model(model)
    return dynamic, ort.InferenceSession(model.SerializeToString())


def encode(session: ort.InferenceSession, ids: list[int]) -> dict[str, Any]:
    """Run an encoder on the features of one random picture."""
    features = np.random.default_rng(0).standard_normal((1, IMAGE, TINY.d_model)).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image_features": features, "input_ids": np.array([ids])}), strict=True))


def test_every_size_is_fixed(encoders: tuple[ort.InferenceSession, ort.InferenceSession]) -> None:
    """All inputs and outputs have whole numbers as sizes; keys and values come with their mask."""
    _, fixed = encoders
    ports = {port.name: port.shape for port in (*fixed.get_inputs(), *fixed.get_outputs())}
    assert all(isinstance(size, int) for shape in ports.values() for size in shape)
    assert ports["input_ids"] == [1, PROMPT]
    assert ports["cross_mask"] == [1, 1, IMAGE + PROMPT, 1]


@pytest.mark.parametrize("length", [1, 2, 19, 20])
def test_padding_changes_nothing(length: int, encoders: tuple[ort.InferenceSession, ort.InferenceSession]) -> None:
    """Keys and values of image and prompt are those without padding, and the mask shows these alone."""
    dynamic, fixed = encoders
    ids = [1 + 37 * number for number in range(length)]
    expected, computed = encode(dynamic, ids), encode(fixed, ids + [-1] * (PROMPT - length))
    mask, seen = computed.pop("cross_mask").ravel(), IMAGE + length
    assert (mask[:seen] == 0).all()
    assert (mask[seen:] < -1e4).all()
    assert list(computed) == list(expected)
    for name, states in computed.items():
        np.testing.assert_allclose(states[:, :, :seen], expected[name], atol=1e-5 * np.abs(expected[name]).max())


def test_a_graph_without_attention_is_refused() -> None:
    """A graph that has nothing to mask would let padding change its answers."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ports[:1], ports[1:])
    with pytest.raises(CompileError, match="no softmax to mask"):
        fix_prompt(helper.make_model(graph), IMAGE, PROMPT)
