"""The contract of ``f2edge.engine``, tested on every engine, the reference model's runtime included.

Expected values come from the reference model's ``decode`` of whole sequences, without cached keys and values.
"""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from f2edge.bundle.manifest import open_bundle
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.reference.runtime import TorchRuntime
from f2edge.errors import DeviceError
from f2edge.runtimes import devices, open_runtime
from tests.support.simulated_gpu import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.compile.reference.model import ReferenceModel
    from f2edge.decoding.session import StepScores
    from f2edge.engine import PromptSession, Runtime

BUNDLES = {"onnxruntime": "tiny_onnx_bundle", "openvino": "tiny_bundle"}
STATIC = {"openvino, static": "tiny_npu_bundle"}
CUDA = {"onnxruntime, CUDA": "tiny_onnx_bundle"}
SHORT, LONG = [0, 41, 7, 2], [0, *range(100, 130), 2]


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> ReferenceModel:
    """The reference model."""
    return load_checkpoint(tiny_checkpoint).model


ON_GPUS = [pytest.param(engine, marks=pytest.mark.gpu) for engine in (*CUDA, "tensorrt")]
ENGINES = ["torch", *BUNDLES, *STATIC, "simulated", *ON_GPUS]


@pytest.fixture(scope="module", params=ENGINES)
def runtime(
    request: pytest.FixtureRequest, model: ReferenceModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runtime]:
    """Each engine in turn; TensorRT runs on a simulated GPU; with ``-m gpu`` both it and ONNX Runtime on a real one."""
    if request.param == "torch":
        yield TorchRuntime(model)
        return
    with pytest.MonkeyPatch.context() as patch:
        path = request.getfixturevalue((BUNDLES | STATIC | CUDA).get(request.param, "tiny_jetson_bundle"))
        patch.setenv("F2EDGE_CACHE", str(tmp_path_factory.mktemp("cache")))
        if path.suffix == ".jetson":  # the first start keeps its engines in the bundle, which other tests share
            path = shutil.copytree(path, tmp_path_factory.mktemp("portable") / path.name)
        if request.param == "simulated":
            simulate(patch)
        device = "CPU" if request.param in STATIC else "CUDA" if request.param in CUDA else None
        yield open_runtime(open_bundle(path), device)


def pixels(seed: int) -> FloatArray:
    """Make a normalised picture of noise."""
    return np.random.default_rng(seed).standard_normal((1, 3, 96, 96), dtype=np.float32)


def close(actual: FloatArray, expected: FloatArray, tolerance: float = 5e-5) -> bool:
    """Tell whether the largest difference is at most ``tolerance`` times the largest expected value.

    ONNX Runtime is off by 1.6e-5 with AVX-512; values of another answer would be off by more than 1e-2.
    """
    assert actual.shape == expected.shape
    assert actual.dtype == np.float32
    return bool(np.abs(actual - expected).max() <= tolerance * np.abs(expected).max())


class Expected:
    """The scores that an answer must have, computed from the whole sequences of all beams without any cache."""

    def __init__(self, model: ReferenceModel, picture: FloatArray, prompt: list[int]) -> None:
        self.model = model
        self.sequences: IntArray = np.empty((1, 0), np.int64)
        with torch.inference_mode():
            features = model.encode_image(torch.from_numpy(picture))
            self.states = model.encode(features, torch.tensor([prompt]))

    def step(self, tokens: IntArray, beams: IntArray) -> FloatArray:
        """Return logits (beams, vocabulary) after the step."""
        self.sequences = np.concatenate([self.sequences[beams], tokens[:, None]], 1)
        with torch.inference_mode():
            states = self.states.expand(len(tokens), -1, -1)
            return self.model.decode(states, torch.from_numpy(self.sequences))[:, -1].numpy()


class Pair:
    """A session and its expected scores, fed the same random tokens and beams."""

    def __init__(self, session: PromptSession, expected: Expected, seed: int) -> None:
        self.session, self.expected = session, expected
        self.rng = np.random.default_rng(seed)
        self.beams = 1

    def step(self, beams: int) -> tuple[StepScores, FloatArray]:
        """Take a step with ``beams`` beams that continue random beams of the step before."""
        tokens = self.rng.integers(0, 1600, beams)
        parents = self.rng.integers(0, self.beams, beams)
        self.beams = beams
        return self.session.step(tokens, parents), self.expected.step(tokens, parents)


def start(runtime: Runtime, model: ReferenceModel, seed: int, prompt: list[int]) -> Pair:
    """Start an answer about picture ``seed``."""
    session = runtime.start(runtime.encode_image(pixels(seed)), np.array(prompt))
    return Pair(session, Expected(model, pixels(seed), prompt), seed)


def assert_scores(scores: StepScores, expected: FloatArray) -> None:
    """Check that a step's scores agree with the expected logits and with each other."""
    logits = scores.fetch_logits()
    assert close(logits, expected)
    assert close(scores.log_sum_exp, np.log(np.exp(expected.astype(np.float64)).sum(1)).astype(np.float32))
    assert scores.token_ids.dtype == np.int64
    assert scores.token_ids.shape == scores.logits.shape == (len(expected), 32)
    assert (np.diff(scores.logits) <= 0).all()
    np.testing.assert_array_equal(scores.logits, np.take_along_axis(logits, scores.token_ids, 1))
    for row, token_ids, last in zip(logits, scores.token_ids, scores.logits[:, -1], strict=True):
        assert len(set(token_ids.tolist())) == len(token_ids)
        assert np.delete(row, token_ids).max() <= last
    np.testing.assert_array_equal(scores.fetch_logits(), logits)


def test_image_features(runtime: Runtime, model: ReferenceModel) -> None:
    """Image features equal the reference model's, and survive the way to the host and back unchanged."""
    with torch.inference_mode():
        expected = model.encode_image(torch.from_numpy(pixels(0))).numpy()
    features = runtime.encode_image(pixels(0))
    host = runtime.features_to_host(features)
    assert close(host, expected)
    np.testing.assert_array_equal(runtime.features_to_host(runtime.features_from_host(host)), host)


def test_features_outlive_later_pictures(runtime: Runtime) -> None:
    """Later pictures do not change the features of earlier ones, although the pictures' arrays are gone."""
    kept = [runtime.encode_image(pixels(seed)) for seed in range(3)]
    hosts = [runtime.features_to_host(features).copy() for features in kept]
    for seed in range(3, 6):
        runtime.encode_image(pixels(seed))
    gc.collect()
    for features, host in zip(kept, hosts, strict=True):
        np.testing.assert_array_equal(runtime.features_to_host(features), host)
    assert not np.allclose(hosts[0], hosts[1])


@pytest.mark.parametrize("prompt", [SHORT, LONG, [0, 2], list(range(86))], ids=len)
def test_cross_attention_of_prompts_of_any_length(prompt: list[int], runtime: Runtime, model: ReferenceModel) -> None:
    """Keys and values of every layer, alternating, are right for prompts up to the longest there may be."""
    session = runtime.start(runtime.encode_image(pixels(1)), np.array(prompt))
    states = Expected(model, pixels(1), prompt).states
    with torch.inference_mode():
        expected = [tensor.numpy() for pair in model.decoder.cross_key_values(states) for tensor in pair]
    actual = session.cross_key_values()
    assert len(actual) == len(expected) == 4
    assert all(close(ours, theirs) for ours, theirs in zip(actual, expected, strict=True))


def test_greedy_up_to_the_last_position(runtime: Runtime, model: ReferenceModel) -> None:
    """One beam is scored right at all 80 positions; OpenVINO's fused attention went wrong from the 17th on."""
    pair = start(runtime, model, 2, SHORT)
    for _ in range(80):
        assert_scores(*pair.step(1))


def test_beams_change_in_number_and_order(runtime: Runtime, model: ReferenceModel) -> None:
    """Scores stay right when beams change in number, in order and with repeats, beyond 64 tokens."""
    pair = start(runtime, model, 3, LONG)
    for step in range(75):
        assert_scores(*pair.step((1, 3, 5, 5, 3, 3, 1, 8, 2)[step // 2 % 9] if step else 1))


def test_sessions_do_not_disturb_each_other(runtime: Runtime, model: ReferenceModel) -> None:
    """Three answers at once stay right, two of them about the same features, with pictures encoded in between."""
    features = runtime.encode_image(pixels(4))
    first, second = (
        Pair(runtime.start(features, np.array(prompt)), Expected(model, pixels(4), prompt), len(prompt))
        for prompt in (SHORT, LONG)
    )
    third = start(runtime, model, 5, SHORT)
    for step in range(24):
        for pair, beams in ((first, 3), (second, 1 + step % 4), (third, 5)):
            assert_scores(*pair.step(beams if step else 1))
        runtime.encode_image(pixels(step))
    late = Pair(runtime.start(features, np.array(SHORT)), Expected(model, pixels(4), SHORT), 0)
    assert_scores(*late.step(1))


def record(runtime: Runtime, seed: int) -> list[FloatArray]:
    """Answer question ``seed`` and return all that the engine computed for it: features, keys, values and scores."""
    rng = np.random.default_rng(seed)
    features = runtime.encode_image(pixels(seed % 5))
    session = runtime.start(features, np.array((SHORT, LONG)[seed % 2]))
    values, beams = [runtime.features_to_host(features), *session.cross_key_values()], 1
    for step in range(6):
        width = 1 + (seed + step) % 4 if step else 1
        scores = session.step(rng.integers(0, 1600, width), rng.integers(0, beams, width))
        beams = width
        values += [scores.logits, scores.log_sum_exp, scores.token_ids, scores.fetch_logits().copy()]
    return values


def test_threads_get_their_own_answers(runtime: Runtime) -> None:
    """Eight threads that share an engine each get what a single thread gets, to the bit."""
    questions = list(range(10)) * 8
    expected = [record(runtime, seed) for seed in range(10)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(record, runtime), questions))
    for seed, answer in zip(questions, answers, strict=True):
        assert all(map(np.array_equal, answer, expected[seed]))


@pytest.mark.parametrize("engine", [*BUNDLES, *(pytest.param(engine, marks=pytest.mark.gpu) for engine in CUDA)])
def test_a_session_outlives_its_runtime(engine: str, request: pytest.FixtureRequest, model: ReferenceModel) -> None:
    """A session works on after its runtime is gone; a stream may be all that is left of a model."""
    bundle = open_bundle(request.getfixturevalue((BUNDLES | CUDA)[engine]))
    pair = start(open_runtime(bundle, "CUDA" if engine in CUDA else "CPU"), model, 6, SHORT)
    gc.collect()
    for beams in (1, 3, 3):
        assert_scores(*pair.step(beams))


@pytest.mark.parametrize("name", BUNDLES)
@pytest.mark.parametrize("device", ["TPU", "GPU.7", "cpu0", "CPU;", ""])
def test_an_unknown_device_is_one_line(device: str, name: str, request: pytest.FixtureRequest) -> None:
    """An unknown device is refused in one line that lists the known ones; no name means the bundle's own device."""
    bundle = open_bundle(request.getfixturevalue(BUNDLES[name]))
    if not device:
        assert open_runtime(bundle, device).device == "CPU"
        return
    with pytest.raises(DeviceError, match=f"has no device {device.upper()}.*it has: .*CPU") as error:
        open_runtime(bundle, device)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BUNDLES)
def test_graphs_that_cannot_be_loaded_are_one_line(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Graphs that are empty, foreign or cut off after the bundle was opened are refused in one line."""
    path = shutil.copytree(request.getfixturevalue(BUNDLES[name]), tmp_path / "bundle")
    bundle = open_bundle(path)
    file = bundle.file("decoder")
    intact = file.read_bytes()
    for content in (b"", b"x" * 100, intact[:1000], intact[:-20]):
        file.write_bytes(content)
        with pytest.raises(DeviceError, match=r"cannot load .*: .*\w") as error:
            open_runtime(bundle)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BUNDLES)
def test_an_engine_that_fails_while_running_is_one_line(name: str, request: pytest.FixtureRequest) -> None:
    """A picture of the wrong size is refused in one line."""
    runtime = open_runtime(open_bundle(request.getfixturevalue(BUNDLES[name])))
    with pytest.raises(DeviceError, match="failed while running") as error:
        runtime.encode_image(np.zeros((1, 3, 64, 64), np.float32))
    assert "\n" not in str(error.value)


def test_a_bundle_for_a_runtime_of_a_later_version(tiny_bundle: Path) -> None:
    """A runtime that this version does not have is refused by name, and no module of that name is imported."""
    bundle = open_bundle(tiny_bundle)
    for name in ("tpu", "os", "..errors"):
        with pytest.raises(DeviceError, match="which this version does not have"):
            open_runtime(replace(bundle, recipe=replace(bundle.recipe, runtime=name)))


def test_devices_of_the_installed_engines() -> None:
    """Each engine lists the CPU with its full name."""
    names: dict[tuple[str, str], str] = {(d.runtime, d.device): d.name for d in devices()}
    assert names["openvino", "CPU"]
    assert names["onnxruntime", "CPU"].startswith("ONNX Runtime")


_WITHOUT = """
import sys
sys.modules[{engine!r}] = None
from f2edge.bundle.manifest import open_bundle
from f2edge.errors import MissingExtraError
from f2edge.runtimes import devices, open_runtime
print(sorted({{device.runtime for device in devices()}}))
try:
    open_runtime(open_bundle({bundle!r}))
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(("name", "hint"), [("onnxruntime", "f2edge[onnx]"), ("openvino", "f2edge")])
def test_an_engine_that_is_not_installed(name: str, hint: str, request: pytest.FixtureRequest) -> None:
    """Opening a bundle for it says what to install, and the other engine's devices are still listed."""
    code = _WITHOUT.format(engine=name, bundle=str(request.getfixturevalue(BUNDLES[name])))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    (other,) = set(BUNDLES) - {name}
    assert done.stdout.splitlines()[0] == str([other])
    assert f"{name} is not installed; run: pip install '{hint}" in done.stdout


_GROWTH = """
import numpy as np, f2edge
from f2edge.machine import peak_rss_mib
model = f2edge.load({bundle!r})
session = model.runtime.start(model.encode(np.zeros((9, 9, 3), np.uint8)).features, np.array([0, 40, 2]))
peaks = []
for step in range(79):
    session.step(np.full(3 if step else 1, 5), np.zeros(3 if step else 1, np.int64))
    peaks.append(peak_rss_mib())
print(peaks[-1] - peaks[20])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
def test_memory_does_not_grow_with_the_answer(tiny_bundle: Path) -> None:
    """58 steps take less than 45 MiB; with OpenVINO's default cache of kernels they take some 70 (docs/traps.md)."""
    code = _GROWTH.format(bundle=str(tiny_bundle))
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    assert float(done.stdout) < 45
