"""Decoders in bf16 on OpenVINO's CPU: where, what of them, and what stays in fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import pytest

import f2edge
from f2edge.bundle.manifest import COMPONENTS
from f2edge.placement import Placement
from f2edge.runtimes.openvino import devices as openvino_devices
from f2edge.runtimes.openvino import loading as openvino_loading
from f2edge.runtimes.openvino.bf16 import decodes_in_bf16
from f2edge.runtimes.openvino.runtime import load_graphs
from f2edge.verify import relative_error

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray
    from f2edge.runtimes.openvino.runtime import OpenVINORuntime
    from f2edge.targets import Compute

PROMPT = np.array([0, 40, 300, 77, 2])
COMPUTES: tuple[Compute, ...] = ("fp32", "bf16")
BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not BF16, reason="this processor has no bf16")


class Core:
    """Of a processor that computes in some types."""

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
def test_where(encoder: str, decoder: str, compute: Compute, capabilities: tuple[str, ...], *, expected: bool) -> None:
    """On a processor that has it, with the encoder beside it, where the bundle asks for it."""
    core: Any = Core(*capabilities)
    assert decodes_in_bf16(core, {"encoder": encoder, "decoder": decoder}, {"decoder": compute}) is expected


def load(path: Path, compute: Compute) -> OpenVINORuntime:
    """A bundle's graphs with a decoder in bf16 or fp32."""
    bundle = f2edge.open_bundle(path)
    graphs = {name: bundle.file(name) for name in COMPONENTS}
    return load_graphs(graphs, Placement.on("CPU"), compute={"decoder": compute})


def features(path: Path) -> FloatArray:
    """Image features of a bundle's sizes."""
    geometry = f2edge.open_bundle(path).geometry
    values: FloatArray = np.random.default_rng(2).standard_normal((1, geometry.num_image_tokens, geometry.d_model))
    return values.astype(np.float32)


def steps(runtime: OpenVINORuntime, path: Path) -> list[tuple[FloatArray, ...]]:
    """Logits and candidates of one beam, then of three that change places."""
    session = runtime.start(runtime.features_from_host(features(path)), PROMPT)
    found = []
    for step, beams in enumerate(([0], [0, 0, 0], [2, 0, 0], [1, 1, 2])):
        scores = session.step(np.arange(5, 5 + len(beams)) + step, np.array(beams))
        found.append((scores.fetch_logits().copy(), scores.token_ids, scores.logits, scores.log_sum_exp))
    return found


def test_a_head_apart_is_exact(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything in fp32 two graphs give what one gives, to the last digit."""
    monkeypatch.setattr(openvino_loading, "with_bf16_cross", lambda model: model)
    monkeypatch.setitem(openvino_devices._HINTS, "bf16", "f32")
    monkeypatch.setattr(openvino_loading, "decodes_in_bf16", lambda *arguments: arguments[-1]["decoder"] == "bf16")
    whole, apart = load(tiny_bundle, "fp32"), load(tiny_bundle, "bf16")
    assert "head" not in whole._compiled
    assert "head" in apart._compiled
    for one, other in zip(steps(whole, tiny_bundle), steps(apart, tiny_bundle), strict=True):
        for expected, found in zip(one, other, strict=True):
            np.testing.assert_array_equal(found, expected)


@needs_bf16
def test_what_is_in_bf16(tiny_bundle: Path) -> None:
    """The layers' products; not the sums and norms between them, and not the head."""
    runtime = load(tiny_bundle, "bf16")
    steps(runtime, tiny_bundle)  # kernels are chosen when they first run
    layers, head = (computed_in(runtime._compiled[part]) for part in ("decoder", "head"))
    assert layers["FullyConnected"] == layers["MatMul"] == {"bf16"}
    assert layers["MVN"] == {"f32"}
    assert head["FullyConnected"] == {"f32"}


def computed_in(compiled: Any) -> dict[str, set[str]]:
    """The types that the plugin's nodes of each kind give."""
    found: dict[str, set[str]] = {}
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        kind, types = facts["layerType"].astype(str), facts["outputPrecisions"].astype(str)
        found.setdefault(str(kind), set()).add(str(types))
    return found


@needs_bf16
def test_its_error(tiny_bundle: Path) -> None:
    """Logits differ by the rounding of bf16, and are not rounded to it themselves."""
    exact, found = (steps(load(tiny_bundle, compute), tiny_bundle) for compute in COMPUTES)
    for (expected, *_), (logits, *_) in zip(exact, found, strict=True):
        assert 0 < relative_error(logits, expected) < 0.01
        assert (logits.view(np.uint32) & 0xFFFF).any()


@needs_bf16
def test_keys_and_values(tiny_bundle: Path) -> None:
    """They are handed over in bf16, in half the memory, and can be read all the same."""
    sessions = []
    for compute in COMPUTES:
        runtime = load(tiny_bundle, compute)
        sessions.append(runtime.start(runtime.features_from_host(features(tiny_bundle)), PROMPT))
    exact, half = (sum(tensor.byte_size for tensor in session._cross.values()) for session in sessions)
    assert half * 2 == exact
    for expected, found in zip(*(session.cross_key_values() for session in sessions), strict=True):
        assert found.dtype == np.float32
        assert 0 < relative_error(found, expected) < 2**-8
