"""The TensorRT runtime on a simulated GPU (tests/support/simulated_gpu.py): limits, memory and messages of one line.

Its scores are tested with those of all engines, in tests/runtimes/test_engine_contract.py.
"""

from __future__ import annotations

import gc
import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cuda.bindings import runtime as cudart

from f2edge.bundle.manifest import COMPONENTS, open_bundle
from f2edge.compile import steps as build_steps
from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.errors import DeviceError, F2EdgeError, LimitError, MissingExtraError
from f2edge.model import load
from f2edge.runtimes import devices, open_runtime
from f2edge.runtimes.tensorrt import cuda
from f2edge.runtimes.tensorrt import runtime as runtime_module
from f2edge.runtimes.tensorrt.library import load_library
from f2edge.targets import TARGETS
from tests.support.checkpoints import copying
from tests.support.command import f2edge, f2edge_process
from tests.support.simulated_gpu import Cudart, simulate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.runtimes.tensorrt.runtime import TensorRTRuntime
    from f2edge.runtimes.tensorrt.session import TensorRTSession

PIXELS = np.zeros((1, 3, 96, 96), np.float32)
PROMPT = np.array([0, 41, 7, 2])


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cudart:
    """Simulate a GPU, and give the test an empty user cache."""
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "cache"))
    return simulate(monkeypatch)


@pytest.fixture
def bundle(tiny_jetson_bundle: Path, tmp_path: Path) -> Path:
    """Copy the portable bundle."""
    return shutil.copytree(tiny_jetson_bundle, tmp_path / "bundle")


def start(bundle: Path) -> tuple[TensorRTRuntime, TensorRTSession]:
    """Open the bundle, and return the runtime and a session at position 0."""
    runtime: Any = open_runtime(open_bundle(bundle))
    return runtime, runtime.start(runtime.encode_image(PIXELS), PROMPT)


def steps(session: TensorRTSession, count: int) -> None:
    """Take steps with 8 beams."""
    for _ in range(count):
        session.step(np.zeros(8, np.int64), np.zeros(8, np.int64))


def one_line(error: pytest.ExceptionInfo[F2EdgeError]) -> str:
    """Return the message after checking that it is one line."""
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.usefixtures("gpu")
def test_limits_of_the_profile(bundle: Path) -> None:
    """Prompts, beams and answers beyond the profile are refused, and the session goes on after a refusal."""
    runtime, session = start(bundle)
    with pytest.raises(LimitError, match="the prompt has 87 tokens, this engine takes 86"):
        runtime.start(runtime.encode_image(PIXELS), np.zeros(87, np.int64))
    with pytest.raises(LimitError, match="num_beams is 9; this engine was built for 1 to 8"):
        session.step(np.zeros(9, np.int64), np.zeros(9, np.int64))
    one = np.zeros(1, np.int64)
    for _ in range(80):
        session.step(one, one)
    with pytest.raises(LimitError, match="this engine was built for answers of 80 tokens"):
        session.step(one, one)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("device", ["CUDA.2", "CPU", "GPU"])
def test_a_device_that_is_not_there(device: str, bundle: Path) -> None:
    """A GPU that is not there is refused in one line that lists those that are."""
    with pytest.raises(DeviceError, match=f"has no device {device} here; it has: CUDA, CUDA.1") as error:
        open_runtime(open_bundle(bundle), device)
    one_line(error)
    assert open_runtime(open_bundle(bundle), "CUDA.1").device == "CUDA.1"


@pytest.mark.usefixtures("gpu")
def test_gpus_are_listed() -> None:
    """Every GPU is listed with its name."""
    gpus = {(device.device, device.name) for device in devices() if device.runtime == "tensorrt"}
    assert gpus == {("CUDA", "Simulated GPU 0"), ("CUDA.1", "Simulated GPU 1")}


@pytest.mark.parametrize("status", ["cudaErrorInsufficientDriver", "cudaErrorNoDevice"])
def test_no_driver(status: str, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each status that means no driver, no GPU is listed and the command ends with one line of advice."""
    answer = (getattr(cudart.cudaError_t, status), 0)
    stub = SimpleNamespace(**{name: getattr(cudart, name) for name in dir(cudart)})
    stub.cudaGetDeviceCount = lambda: answer
    monkeypatch.setattr(cuda, "cudart", stub)
    line = f2edge("verify", bundle).error
    assert f"there is no NVIDIA GPU with a driver here ({status}: " in line
    assert "install or update the driver" in line
    assert not [device for device in devices() if device.runtime == "tensorrt"]


def test_out_of_device_memory(bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Running out of memory is one line; the session's memory is freed, and a smaller question still runs."""
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "cache"))
    gpu = simulate(monkeypatch, capacity=500_000)
    runtime, session = start(bundle)
    before = gpu.used
    with pytest.raises(DeviceError, match="the GPU is out of memory; use fewer beams") as error:
        steps(session, 70)
    one_line(error)
    del session, error
    gc.collect()
    assert gpu.used < before
    runtime.start(runtime.encode_image(PIXELS), PROMPT).step(np.array([2]), np.array([0]))


def test_memory_is_given_back(bundle: Path, gpu: Cudart) -> None:
    """Answers and pictures free their memory, and the runtime frees the rest, pinned memory included."""
    runtime: Any = open_runtime(open_bundle(bundle))
    before = gpu.used
    for _ in range(3):
        session = runtime.start(runtime.encode_image(PIXELS), PROMPT)
        for _ in range(40):
            session.step(np.zeros(3, np.int64), np.zeros(3, np.int64))
    del session
    gc.collect()
    assert gpu.used == before > 0
    del runtime
    gc.collect()
    assert (gpu.used, gpu.pinned) == (0, {})


def test_only_candidates_come_back(bundle: Path, gpu: Cudart) -> None:
    """A step copies the candidates and the log-sum-exp of its beams to the host, and all logits only on request."""
    _, session = start(bundle)
    for step, beams in enumerate((1, 3, 5)):
        gpu.copied = {True: 0, False: 0}
        scores = session.step(np.zeros(beams, np.int64), np.zeros(beams, np.int64))
        assert gpu.copied == {True: 8 * (2 * beams + 1), False: beams * (32 * (8 + 4) + 4)}, step
        scores.fetch_logits()
        assert gpu.copied[False] == beams * (32 * (8 + 4) + 4 + 1600 * 4)


@pytest.mark.usefixtures("gpu")
def test_an_engine_that_cannot_be_loaded(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that cannot be loaded is refused in one line with TensorRT's reason and with advice."""
    opened = open_bundle(bundle)
    engines: dict[str, Any] = {name: SimpleNamespace(plan=b"of version 9") for name in COMPONENTS}
    monkeypatch.setattr(runtime_module, "EngineCache", lambda *_: SimpleNamespace(engines=lambda: engines))
    with pytest.raises(DeviceError, match=r"cannot load the vision engine on Simulated GPU 0: .*magic tag") as error:
        open_runtime(opened)
    assert "build or compile it again" in one_line(error)


@pytest.mark.usefixtures("gpu")
def test_an_engine_that_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of another size and a refused launch each name the engine and the place in one line."""
    runtime, session = start(bundle)
    with pytest.raises(DeviceError, match="failed while running the vision engine at pixel_values of shape") as error:
        runtime.encode_image(np.zeros((1, 3, 64, 64), np.float32))
    one_line(error)
    monkeypatch.setattr("tests.support.simulated_gpu.Context.execute_async_v3", lambda *_: False)
    with pytest.raises(DeviceError, match="failed while running the decoder engine at the launch"):
        session.step(np.array([2]), np.array([0]))


@pytest.mark.usefixtures("gpu")
def test_half_precision_end_to_end(
    tiny_checkpoint: Path, tiny_jetson_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fp16 bundle passes verification; its keys and values are fp16 on the GPU and its scores fp32."""
    monkeypatch.setattr(build_steps, "export", copying(tiny_jetson_bundle))
    made = build(tiny_checkpoint, tmp_path / "half", Options(TARGETS["jetson"]))
    outcome = f2edge("verify", made.path, "--json")
    assert outcome.code == 0
    assert 0 < outcome.json["components"]["decoder"]["relative_error"] < 1e-2
    model: Any = load(made.path)
    session = model.runtime.start(model.encode(np.zeros((9, 9, 3), np.uint8)).features, PROMPT)
    assert {tensor.dtype for tensor in session.cross_key_values()} == {np.dtype(np.float32)}
    assert model.runtime._engines["decoder"].types["past.0.key"] == np.float16
    assert model.run(np.zeros((9, 9, 3), np.uint8), "od", num_beams=3).token_ids[0] == 2


@pytest.mark.usefixtures("gpu")
def test_build_ahead_of_the_first_start(bundle: Path, tiny_bundle: Path) -> None:
    """``f2edge build`` builds each engine once and says where it is, and refuses bundles that need no engines."""
    for state in (True, False):
        engines = f2edge("build", bundle, "--json").json
        assert list(engines) == list(COMPONENTS)
        assert {engine["built"] for engine in engines.values()} == {state}
        assert all(str(bundle / "engines") in engine["path"] for engine in engines.values())
    lines = f2edge("build", bundle, "--workspace", "64").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [[name, "there", "already"] for name in COMPONENTS]
    assert "is for openvino, which has no engines to build" in f2edge("build", tiny_bundle).error


@pytest.mark.usefixtures("gpu")
def test_build_with_nowhere_to_keep_engines(bundle: Path, tmp_path: Path) -> None:
    """``f2edge build`` fails if no directory takes the engines."""
    (bundle / "engines").write_bytes(b"")
    (tmp_path / "cache").write_bytes(b"")
    assert "no directory takes the engines of vision, encoder, decoder" in f2edge("build", bundle).error


def importing(present: set[str]) -> Callable[[str], Any]:
    """Make an ``import_module`` that knows only these modules."""

    def find(name: str) -> Any:
        if name not in present:
            raise ImportError(name)
        return SimpleNamespace(__name__=name)

    return find


@pytest.mark.parametrize(
    ("target", "present", "chosen"),
    [
        ("rtx", {"tensorrt", "tensorrt_rtx"}, "tensorrt_rtx"),
        ("jetson", {"tensorrt", "tensorrt_rtx"}, "tensorrt"),
        ("jetson", {"tensorrt_rtx"}, "tensorrt_rtx"),
    ],
)
def test_the_target_decides(target: str, present: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines for RTX cards need TensorRT-RTX; graphs take either library, TensorRT before the other."""
    monkeypatch.setattr("importlib.import_module", importing(present))
    assert load_library(target).__name__ == chosen


@pytest.mark.parametrize(
    ("target", "line"),
    [("rtx", r"f2edge\[rtx\]"), ("jetson", r"tensorrt is not installed; .*JetPack.* --system-site-packages")],
)
def test_without_the_library(target: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is reported with what to install; TensorRT does not replace TensorRT-RTX."""
    monkeypatch.setattr("importlib.import_module", importing({"tensorrt"} if target == "rtx" else set()))
    with pytest.raises(MissingExtraError, match=line):
        load_library(target)


@pytest.mark.parametrize("way", ["verify", "build", "self-check"])
def test_without_cuda_python_for_rtx(way: str, bundle: Path) -> None:
    """A bundle for RTX cards needs another extra than one for a Jetson, whichever way it is opened."""
    manifest = bundle / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"target": "jetson"', '"target": "rtx"'))
    first = "import sys; sys.modules['cuda'] = None"
    if way == "self-check":
        first += "\nimport functools, f2edge\nf2edge.load = functools.partial(f2edge.load, on_mismatch='error')"
        way = "verify"
    outcome = f2edge_process(way, bundle, first=first)
    assert outcome.error == "f2edge: cuda-python is not installed; run: pip install 'f2edge[rtx]'"


def test_without_cuda_python(bundle: Path) -> None:
    """Without cuda-python the message names the extra to install."""
    outcome = f2edge_process("verify", bundle, first="import sys; sys.modules['cuda'] = None")
    assert "cuda-python is not installed; run: pip install 'f2edge[tensorrt]'" in outcome.error
