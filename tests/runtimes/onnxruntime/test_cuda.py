"""Bundles for ONNX Runtime on NVIDIA GPUs, on pretended ones; tests/runtimes/test_engine_contract.py has real ones."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

import f2edge
from f2edge.bundle.manifest import open_bundle
from f2edge.decoding import generate
from f2edge.decoding.session import StepScores
from f2edge.errors import DeviceError
from f2edge.placement import parse_placement
from f2edge.runtimes import devices, missing, open_runtime
from f2edge.runtimes.onnxruntime import cuda, driver
from tests.support.pretended_cuda import pretend_gpus

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.manifest import Bundle

PROMPT = np.array([0, 41, 7, 1033, 2])
IN_PLACE = "pip uninstall onnxruntime; pip install onnxruntime-gpu"


@pytest.fixture(scope="module")
def bundle(tiny_onnx_bundle: Path) -> Bundle:
    """The tiny checkpoint in fp32."""
    return open_bundle(tiny_onnx_bundle)


def refusal(bundle: Bundle, device: str) -> str:
    """Return the one line that refuses a device."""
    with pytest.raises(DeviceError) as error:
        open_runtime(bundle, device)
    assert "\n" not in str(error.value)
    return str(error.value)


def picture(seed: int) -> FloatArray:
    """Make a normalised picture of noise."""
    return np.random.default_rng(seed).standard_normal((1, 3, 96, 96), dtype=np.float32)


@pytest.mark.parametrize("device", ["CUDA", "CUDA.1", "decoder=cuda"])
def test_a_build_for_the_cpu(device: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the package that has CUDA."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    line = refusal(bundle, device)
    assert f"has no device {device.upper().removeprefix('DECODER=')}; it has: CPU; " in line
    assert IN_PLACE in line


@pytest.mark.parametrize(
    ("count", "device", "line"),
    [
        (0, "CUDA", "no device CUDA; it has: CPU; no NVIDIA GPU is visible; if there is one, install NVIDIA's driver"),
        (1, "CUDA.1", "no device CUDA.1; it has: CPU, CUDA; f2edge devices lists them"),
        (2, "CUDA.x", "no device CUDA.X; it has: CPU, CUDA, CUDA.1; f2edge devices lists them"),
        (2, "CUDA:1", "no device CUDA:1; it has: CPU, CUDA, CUDA.1; `device` CPU runs the bundle"),
    ],
)
def test_a_gpu_that_is_not_here(
    count: int, device: str, line: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal lists those that are here."""
    pretend_gpus(monkeypatch, count)
    assert line in refusal(bundle, device)


def test_libraries_that_do_not_load(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes the CPU in silence; f2edge refuses that, and names the library and the versions needed."""
    pretend_gpus(monkeypatch, loads=False)
    line = refusal(bundle, "CUDA")
    assert line.startswith("ONNX Runtime cannot use CUDA here")
    assert "install CUDA 13 and cuDNN 9 for it" in line
    assert ("libonnxruntime_providers_cuda.so: cannot open" in line) == (sys.platform == "linux")


@pytest.mark.parametrize("component", ["vision", "encoder", "decoder"])
def test_int8_is_refused(component: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The component in INT8 may stay on the CPU, and the others go to the GPU."""
    pretend_gpus(monkeypatch)
    int8 = {component: replace(bundle.components[component], precision="int8")}
    mixed = replace(bundle, components=bundle.components | int8)
    line = refusal(mixed, "CUDA")
    assert f"the {component} of {bundle.path} is in INT8, which ONNX Runtime runs on the CPU only" in line
    assert line.endswith("for CUDA compile with precision fp16 or fp32")
    placement = str(parse_placement("CUDA", "CPU").with_device(component, "CPU"))
    assert open_runtime(mixed, placement).device == placement


def test_sessions_are_made_for_the_gpu_without_tf32(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each component gets the GPU that was asked for, and products of fp32 keep all their digits."""
    traffic = pretend_gpus(monkeypatch)
    runtime = open_runtime(bundle, "CUDA.1")
    assert (runtime.device, runtime.threads) == ("CUDA.1", None)
    assert [(options["device_id"], options["use_tf32"]) for options in traffic.options] == [("1", "0")] * 3
    mixed = open_runtime(bundle, parse_placement("vision=CUDA", "CPU", threads=2))
    assert (mixed.device, mixed.threads) == ("vision=CUDA,encoder=CPU,decoder=CPU", 2)
    assert len(traffic.options) == 4


def test_features_keys_and_values_stay_on_the_gpu(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step copies tokens, position and beams to the GPU, and the best tokens with their scores from it."""
    traffic = pretend_gpus(monkeypatch)
    runtime = open_runtime(bundle, "CUDA")
    features = runtime.encode_image(picture(0))
    session = runtime.start(features, PROMPT)
    assert traffic.down == []
    assert {name.split(".")[0] for name in traffic.kept} == {"image_features", "cross"}
    question = traffic.up
    assert question < picture(0).nbytes + 10_000  # the prompt, and the mask of 50 tokens
    for tokens in (1, 3, 3):
        traffic.kept.clear()
        traffic.down.clear()
        session.step(np.full(tokens, 5), np.zeros(tokens, np.int64))
        assert sorted(traffic.down) == ["candidate_ids", "candidate_logits", "log_sum_exp"]
        assert {name.split(".")[0] for name in traffic.kept} == {"logits", "present"}
    assert traffic.up == question


class PlainSession:
    """The decoder of one question as ONNX Runtime's ``run`` computes it: all values are arrays, without I/O binding."""

    def __init__(self, bundle: Bundle, pixels: FloatArray) -> None:
        vision, encoder, self.decoder = (
            ort.InferenceSession(bundle.file(name), providers=["CPUExecutionProvider"])
            for name in ("vision", "encoder", "decoder")
        )
        (features,) = vision.run(["image_features"], {"pixel_values": pixels})
        self.fixed = named(encoder, {"image_features": features, "input_ids": PROMPT[None]})
        states = features.shape[1] + len(PROMPT)
        self.fixed["cross_mask"] = np.zeros((1, 1, 1, states), np.float32)
        past = [value for value in self.decoder.get_inputs() if value.name.startswith("past.")]
        self.past = {value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32) for value in past}
        self.position = 0

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Take a step."""
        given = {"input_ids": tokens, "position": np.array([self.position]), "beam_idx": beam_indices}
        outputs = named(self.decoder, given | self.fixed | self.past)
        self.past = {name: outputs[name.replace("past.", "present.")] for name in self.past}
        self.position += 1
        scores = (outputs[name] for name in ("candidate_ids", "candidate_logits", "log_sum_exp"))
        return StepScores(*scores, fetch_logits=lambda: outputs["logits"])


def named(session: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Run a graph and return its outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize(
    "device", ["CUDA", "vision=CUDA", "encoder=CUDA", "decoder=CUDA", "encoder=CUDA.1,decoder=CUDA"]
)
@pytest.mark.parametrize("beams", [1, 3])
def test_answers_equal_those_of_a_plain_run(
    beams: int, device: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token for token and to the bit of the score, wherever the components are."""
    settings = replace(bundle.generation, num_beams=beams, max_new_tokens=24, eos_token_id=bundle.geometry.vocab_size)
    expected = [generate(PlainSession(bundle, picture(seed)), settings) for seed in range(3)]
    pretend_gpus(monkeypatch)
    runtime = open_runtime(bundle, device)
    for seed, answer in enumerate(expected):
        actual = generate(runtime.start(runtime.encode_image(picture(seed)), PROMPT), settings)
        assert (actual.token_ids, actual.score) == (answer.token_ids, answer.score)
        assert len(answer.token_ids) > 20


def test_a_batch_answers_as_one_question_after_the_other(
    tiny_onnx_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and values of several questions are put together by way of the CPU, and go back to the GPU."""
    pretend_gpus(monkeypatch)
    pictures = [np.random.default_rng(seed).integers(0, 256, (40, 50, 3), np.uint8) for seed in range(5)]
    with f2edge.load(tiny_onnx_bundle, "CUDA") as model:
        asks = [f2edge.Ask(each, task, max_new_tokens=8) for each in pictures for task in ("od", "caption")]
        together = [result.token_ids for result in model.run_many(asks, batch=4)]
        assert together == [model.run(ask.image, ask.task, max_new_tokens=8).token_ids for ask in asks]  # type: ignore[arg-type]


def test_devices_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs are listed if this build of ONNX Runtime has CUDA; else, and without a driver, one line says what to do."""

    def listed() -> list[str]:
        return [device.device for device in devices() if device.runtime == "onnxruntime"]

    def advice() -> list[str]:
        return [line for line in missing() if line.startswith("onnxruntime:")]

    pretend_gpus(monkeypatch)
    assert listed() == ["CPU", "CUDA", "CUDA.1"]
    second = next(device for device in devices() if device.device == "CUDA.1" and device.runtime == "onnxruntime")
    assert (second.driver, second.memory_mib) == ("CUDA 13.0", 16384)
    assert advice() == []
    monkeypatch.setattr(cuda, "list_gpus", dict)
    assert (listed(), advice()) == (
        ["CPU"],
        ["onnxruntime: no NVIDIA GPU is visible; if there is one, install NVIDIA's driver"],
    )
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert (listed(), advice()) == (["CPU"], [])
    pretend_gpus(monkeypatch)
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert listed() == ["CPU"]
    assert IN_PLACE in advice()[0]


def stand_in(status: int = 0) -> SimpleNamespace:
    """Return NVIDIA's driver as a library of two GPUs with different sizes of memory."""

    def put(value: int) -> Any:
        return lambda pointer, *_: setattr(pointer._obj, "value", value)

    return SimpleNamespace(
        cuInit=lambda _flags: status,
        cuDeviceGetCount=put(2),
        cuDeviceGet=lambda device, number: setattr(device._obj, "value", 10 + number),
        cuDeviceGetName=lambda name, _size, device: setattr(name, "value", f"GPU {device.value}".encode()),
        cuDeviceTotalMem_v2=lambda memory, device: setattr(memory._obj, "value", (device.value + 70) * 2**30),
        cuDriverGetVersion=put(12080),
    )


def test_the_driver_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, memory above 4 GiB and the driver's version are read; there are no GPUs without it or if it fails."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(driver, "ctypes", SimpleNamespace(**vars(ctypes) | {"CDLL": lambda _name: stand_in()}))
    assert driver.list_gpus() == {
        "CUDA": driver.Gpu("GPU 10", "CUDA 12.8", 80 * 1024),
        "CUDA.1": driver.Gpu("GPU 11", "CUDA 12.8", 81 * 1024),
    }
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda _name: stand_in(status=100))
    assert driver.list_gpus() == {}

    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(driver.ctypes, "CDLL", absent)
    assert driver.list_gpus() == {}
