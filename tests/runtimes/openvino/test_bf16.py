"""Decoders in bf16 on OpenVINO's CPU: when they are used, and which parts stay in fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import pytest

import f2edge
from f2edge.bundle.golden import relative_error
from f2edge.bundle.manifest import COMPONENTS
from f2edge.placement import Placement
from f2edge.runtimes.openvino import devices as openvino_devices
from f2edge.runtimes.openvino import loading as openvino_loading
from f2edge.runtimes.openvino.bf16 import decodes_in_bf16
from f2edge.runtimes.openvino.loading import LoadPlan
from f2edge.runtimes.openvino.runtime import OpenVINORuntime

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray
    from f2edge.targets import Compute

PROMPT = np.array([0, 40, 300, 77, 2])
COMPUTES: tuple[Compute, ...] = ("fp32", "bf16")
BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not BF16, reason="this processor has no bf16")


class Core:
    """OpenVINO on a CPU with these capabilities."""

    def __init__(self, *capabilities: str) -> None:
        self.get_property = lambda _device, _name: capabilities


@pytest.mark.parametrize(
    ("encoder", "decoder", "compute", "capabilities", "expected"),
    [
        ("CPU", "CPU", "bf16", ("FP32", "BF16"), True),
        ("CPU", "CPU", "bf16", ("FP32",), False),
        ("CPU", "CPU", "fp32", ("FP32", "BF16"), False),
        ("AUTO", "AUTO", "bf16", ("FP32", "BF16"), False),
        ("GPU", "CPU", "bf16", ("FP32", "BF16"), False),
    ],
)
def test_when_a_decoder_computes_in_bf16(
    encoder: str, decoder: str, compute: Compute, capabilities: tuple[str, ...], *, expected: bool
) -> None:
    """A decoder computes in bf16 if the bundle asks for it, the CPU supports it, and the encoder is on the CPU too."""
    core: Any = Core(*capabilities)
    assert decodes_in_bf16(core, {"encoder": encoder, "decoder": decoder}, {"decoder": compute}) is expected


def load(path: Path, compute: Compute) -> OpenVINORuntime:
    """Load a bundle's graphs with a decoder that computes in bf16 or fp32."""
    bundle = f2edge.open_bundle(path)
    graphs = {name: bundle.file(name) for name in COMPONENTS}
    return OpenVINORuntime(LoadPlan(graphs, Placement.on("CPU"), compute={"decoder": compute}))


def features(path: Path) -> FloatArray:
    """Make random image features of a bundle's shape."""
    geometry = f2edge.open_bundle(path).geometry
    values: FloatArray = np.random.default_rng(2).standard_normal((1, geometry.num_image_tokens, geometry.d_model))
    return values.astype(np.float32)


def steps(runtime: OpenVINORuntime, path: Path) -> list[tuple[FloatArray, ...]]:
    """Return the scores of one beam, then of three beams that change places."""
    session = runtime.start(runtime.features_from_host(features(path)), PROMPT)
    scores_of_steps = []
    for step, beams in enumerate(([0], [0, 0, 0], [2, 0, 0], [1, 1, 2])):
        scores = session.step(np.arange(5, 5 + len(beams)) + step, np.array(beams))
        scores_of_steps.append((scores.fetch_logits().copy(), scores.token_ids, scores.logits, scores.log_sum_exp))
    return scores_of_steps


def test_a_split_decoder_is_exact(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything in fp32, layers and head as two graphs give the same scores as one graph, bit for bit."""
    monkeypatch.setattr(openvino_loading, "with_bf16_cross", lambda model: model)
    monkeypatch.setitem(openvino_devices._PRECISION_HINTS, "bf16", "f32")
    monkeypatch.setattr(openvino_loading, "decodes_in_bf16", lambda *arguments: arguments[-1]["decoder"] == "bf16")
    whole, apart = load(tiny_bundle, "fp32"), load(tiny_bundle, "bf16")
    assert "head" not in whole._compiled
    assert "head" in apart._compiled
    for one, other in zip(steps(whole, tiny_bundle), steps(apart, tiny_bundle), strict=True):
        for expected, scores in zip(one, other, strict=True):
            np.testing.assert_array_equal(scores, expected)


@needs_bf16
def test_only_products_of_the_layers_are_in_bf16(tiny_bundle: Path) -> None:
    """Products of the layers compute in bf16; sums and norms between them and the head compute in fp32."""
    runtime = load(tiny_bundle, "bf16")
    steps(runtime, tiny_bundle)  # kernels are chosen when they first run
    layers, head = (computed_in(runtime._compiled[part]) for part in ("decoder", "head"))
    assert layers["FullyConnected"] == layers["MatMul"] == {"bf16"}
    assert layers["MVN"] == {"f32"}
    assert head["FullyConnected"] == {"f32"}


def computed_in(compiled: Any) -> dict[str, set[str]]:
    """Return the output types of the plugin's nodes, by the kind of node."""
    types_of_kind: dict[str, set[str]] = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kind, types = info["layerType"].astype(str), info["outputPrecisions"].astype(str)
        types_of_kind.setdefault(str(kind), set()).add(str(types))
    return types_of_kind


@needs_bf16
def test_error_of_the_logits(tiny_bundle: Path) -> None:
    """Logits differ from fp32 by less than 1 %, and are not rounded to bf16 themselves."""
    exact, rounded = (steps(load(tiny_bundle, compute), tiny_bundle) for compute in COMPUTES)
    for (expected, *_), (logits, *_) in zip(exact, rounded, strict=True):
        assert 0 < relative_error(logits, expected) < 0.01
        assert (logits.view(np.uint32) & 0xFFFF).any()


@needs_bf16
def test_keys_and_values_take_half_the_memory(tiny_bundle: Path) -> None:
    """The cross-attention's keys and values are kept in bf16, in half the memory, and can be read as fp32."""
    sessions = []
    for compute in COMPUTES:
        runtime = load(tiny_bundle, compute)
        sessions.append(runtime.start(runtime.features_from_host(features(tiny_bundle)), PROMPT))
    exact, half = (
        sum(tensor.byte_size for name, tensor in session._cross.items() if name.startswith("cross."))
        for session in sessions
    )
    assert half * 2 == exact > 0
    for expected, rounded in zip(*(session.cross_key_values() for session in sessions), strict=True):
        assert rounded.dtype == np.float32
        assert 0 < relative_error(rounded, expected) < 2**-8
