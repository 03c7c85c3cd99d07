"""OpenVINO's devices: names, properties, compile options, placement, and the cache of compiled graphs."""

from __future__ import annotations

import locale
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import pytest

import f2edge
from f2edge.bundle.manifest import COMPONENTS, open_bundle
from f2edge.bundle.user_cache import claimed
from f2edge.errors import DeviceError
from f2edge.placement import Placement
from f2edge.runtimes import Device, devices, has_device, identities, missing
from f2edge.runtimes.openvino import devices as openvino_devices
from f2edge.runtimes.openvino import runtime as openvino
from f2edge.runtimes.openvino.decoders import forget_idle
from f2edge.runtimes.openvino.devices import cache_directory, check_device, compile_options, describe
from f2edge.runtimes.openvino.loading import LoadPlan
from f2edge.verify import verify
from tests.support.command import finish, start
from tests.support.pretended import pretend_npu

if TYPE_CHECKING:
    from pathlib import Path


class Core:
    """OpenVINO on a laptop with a CPU, two GPUs and an NPU."""

    available_devices = ("CPU", "GPU.0", "GPU.1", "NPU")

    def __init__(self, **properties: Any) -> None:
        self.properties = {"FULL_DEVICE_NAME": " Some device ", **properties}

    def get_property(self, device: str, name: str) -> Any:
        """Return a property as OpenVINO does, or raise its error if the device does not have it."""
        if name not in self.properties or (name.startswith(("GPU", "NPU")) and not device.startswith(name[:3])):
            raise RuntimeError(f"{device} has no {name}")
        return self.properties[name]


@pytest.mark.parametrize("device", ["CPU", "GPU", "GPU.1", "NPU", "AUTO", "AUTO:GPU,CPU", "AUTO:NPU.0, CPU"])
def test_devices_that_are_there(device: str) -> None:
    """A device is accepted by its kind, with or without a number, and so is a choice by OpenVINO."""
    check_device(Core(), device)


@pytest.mark.parametrize("device", ["TPU", "AUTO:TPU,CPU", "HETERO:GPU,CPU", "CPU,GPU", "GPU0"])
def test_devices_that_are_not_there(device: str) -> None:
    """A device that OpenVINO does not see is refused, and the message lists those it sees."""
    with pytest.raises(DeviceError, match=f"has no device {device} here; it has: CPU, GPU.0, GPU.1, NPU"):
        check_device(Core(), device)


def test_properties() -> None:
    """Driver and memory are read under each kind of device's own names, and are empty if it has neither."""
    core = Core(
        NPU_DRIVER_VERSION=17,
        GPU_DRIVER_VERSION="25.1",
        GPU_DEVICE_TOTAL_MEM_SIZE=2**34,
        OPTIMIZATION_CAPABILITIES=["FP16"],
    )
    gpu, npu, cpu = (describe(core, device) for device in ("GPU.1", "NPU", "CPU"))
    assert gpu == Device("openvino", "GPU.1", "Some device", "25.1", 2**14, ("FP16",))
    assert npu == Device("openvino", "NPU", "Some device", "17", None, ("FP16",))
    assert cpu.driver == ""
    assert openvino_devices.missing(core) == []
    assert openvino_devices.identity(core, "NPU") == "NPU Some device 17"
    assert openvino_devices.identity(core, "AUTO").count("Some device") == 4


def test_options() -> None:
    """The CPU computes in fp32, GPUs and NPUs in fp16, and AUTO passes each device its own options."""
    assert compile_options("vision", "CPU", 2)["INFERENCE_NUM_THREADS"] == "2"
    assert compile_options("vision", "CPU", None)["INFERENCE_PRECISION_HINT"] == "f32"
    assert compile_options("decoder", "CPU", None)["SNIPPETS_MODE"] == "DISABLE"
    assert compile_options("decoder", "CPU", None)["KV_CACHE_PRECISION"] == "f32"
    assert compile_options("decoder", "CPU", None, decoder_precision="int8")["KV_CACHE_PRECISION"] == "f16"
    assert compile_options("decoder", "GPU.1", 2) == {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f16"}
    assert compile_options("decoder", "NPU", None) == {"PERFORMANCE_HINT": "LATENCY"}
    automatic = compile_options("decoder", "AUTO:GPU,CPU", None)
    assert compile_options("decoder", "CPU", None) == {
        "PERFORMANCE_HINT": "LATENCY",
        **automatic["DEVICE_PROPERTIES"]["CPU"],
    }
    assert automatic["DEVICE_PROPERTIES"]["GPU"] == {"INFERENCE_PRECISION_HINT": "f16"}


def test_outputs_are_not_copied() -> None:
    """Outputs are not copied, as OpenVINO does by default: 22 MB of keys and values a question (docs/traps.md)."""

    class Request:
        """An infer request that remembers whether its outputs are shared."""

        shared = False

        def infer(self, *, share_outputs: bool = False) -> None:
            """Remember the option."""
            self.shared = share_outputs

    request = Request()
    openvino._infer(request)
    assert request.shared


def test_missing_devices_and_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each kind of device that is not visible there is a line that says what to install."""
    assert has_device("openvino", "CPU")
    assert not has_device("openvino", "TPU")
    assert len(identities("openvino")) == len([device for device in devices() if device.runtime == "openvino"])
    lines = " ".join(missing())
    assert ("intel-opencl-icd" in lines) != has_device("openvino", "GPU")
    assert ("linux-npu-driver" in lines) != has_device("openvino", "NPU")
    pretend_npu(monkeypatch)
    assert has_device("openvino", "NPU")
    assert "linux-npu-driver" not in " ".join(missing())


def answer(path: Path, device: str | None) -> Any:
    """Answer a question about a grey picture on a device, as a new process does."""
    forget_idle()
    return f2edge.load(path, device).run(np.full((40, 60, 3), 90, np.uint8), "od", max_new_tokens=20)


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "vision=AUTO,decoder=CPU"])
def test_auto(device: str, tiny_bundle: Path) -> None:
    """On a machine with only a CPU, AUTO answers as the CPU does: it gets the CPU's options (docs/traps.md)."""
    expected, automatic = answer(tiny_bundle, "CPU"), answer(tiny_bundle, device)
    assert automatic.token_ids == expected.token_ids
    assert automatic.score == pytest.approx(expected.score, abs=1e-5)


def test_placement(tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component runs on the device named for it, or else on the one that the bundle was compiled for."""
    pretend_npu(monkeypatch)
    model = f2edge.load(tiny_npu_bundle, "decoder=CPU,vision=cpu")
    assert model.runtime.device == "vision=CPU,encoder=NPU,decoder=CPU"
    assert answer(tiny_npu_bundle, "decoder=CPU").token_ids == answer(tiny_npu_bundle, "CPU").token_ids
    with pytest.raises(DeviceError, match="no device TPU"):
        f2edge.load(tiny_npu_bundle, "encoder=TPU")


def test_threads(tiny_bundle: Path) -> None:
    """Every component computes with as many threads as asked for."""
    runtime: Any = f2edge.load(tiny_bundle, threads=1).runtime
    assert runtime.threads == 1
    assert {runtime._compiled[name].get_property("INFERENCE_NUM_THREADS") for name in COMPONENTS} == {1}
    # pinned, the threads of two such processes would share one core
    assert {runtime._compiled[name].get_property("ENABLE_CPU_PINNING") for name in COMPONENTS} == {False}


def from_cache(path: Path) -> list[bool]:
    """Load a bundle as a new process does, and tell of each component whether it came from the cache."""
    forget_idle()
    runtime: Any = f2edge.load(path).runtime
    runtime = getattr(runtime, "_runtime", runtime)
    return [runtime._compiled[name].get_property("LOADED_FROM_CACHE") for name in COMPONENTS]


FRESH, CACHED = [False] * 3, [True] * 3


@pytest.fixture
def npu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An NPU, for which compiling takes long."""
    pretend_npu(monkeypatch)


@pytest.mark.usefixtures("npu")
def test_a_second_start_takes_what_was_compiled(tiny_npu_bundle: Path, cache: Path) -> None:
    """A second start takes every graph from the cache, and passes its golden cases."""
    assert from_cache(tiny_npu_bundle) == FRESH
    assert from_cache(tiny_npu_bundle) == CACHED
    assert verify(f2edge.load(tiny_npu_bundle)).passed
    assert list(cache.glob("*/*.blob"))


def test_the_cpu_keeps_graphs_without_weights(tiny_bundle: Path, cache: Path) -> None:
    """The CPU's cache holds graphs without weights; with the bundle's they give the same answers, bit for bit."""
    fresh, again = answer(tiny_bundle, "CPU"), answer(tiny_bundle, "CPU")
    assert from_cache(tiny_bundle) == CACHED
    assert again.token_ids == fresh.token_ids
    assert again.token_logprobs == fresh.token_logprobs
    kept = sum(file.stat().st_size for file in cache.glob("*/*.blob"))
    assert kept < (tiny_bundle / "weights.bin").stat().st_size / 2


@pytest.mark.usefixtures("cache")
def test_the_locale_of_the_process_stays(tiny_bundle: Path) -> None:
    """Loading a bundle leaves the process's locale as it was, though OpenVINO sets it meanwhile (docs/traps.md)."""
    before = locale.setlocale(locale.LC_ALL)
    for _ in range(4):
        f2edge.load(tiny_bundle)
        assert locale.setlocale(locale.LC_ALL) == before


def test_a_moved_bundle(tiny_bundle: Path, tmp_path: Path, cache: Path) -> None:
    """A bundle that was moved takes its weights from where it is now."""
    first = shutil.copytree(tiny_bundle, tmp_path / "first")
    expected = answer(first, "CPU")
    second = first.rename(tmp_path / "second")
    assert answer(second, "CPU").token_logprobs == expected.token_logprobs
    assert list(cache.glob("*/*.blob"))


@pytest.mark.usefixtures("npu")
@pytest.mark.parametrize("damage", [b"", b"x" * 1000, None])
@pytest.mark.parametrize("bundle", ["tiny_npu_bundle", "tiny_bundle"])
def test_damaged_files(damage: bytes | None, bundle: str, cache: Path, request: pytest.FixtureRequest) -> None:
    """Files of the cache that are empty, foreign or cut off are compiled again."""
    path = request.getfixturevalue(bundle)
    from_cache(path)
    for file in cache.glob("*/*.blob"):
        data = file.read_bytes()
        file.chmod(0o600)
        file.write_bytes(data[: len(data) // 2] if damage is None else damage)
    assert from_cache(path) == FRESH
    assert verify(f2edge.load(path)).passed
    assert from_cache(path) == CACHED


@pytest.mark.parametrize("device", ["CPU", "AUTO"])
def test_two_starts_at_once(device: str, tiny_bundle: Path, cache: Path) -> None:
    """Two processes that load a bundle at once both succeed, and so does a third; AUTO keeps no graphs in the cache."""
    processes = [start("verify", tiny_bundle, "--device", device, "--json") for _ in range(2)]
    assert [finish(process).code for process in processes] == [0, 0]
    assert bool(list(cache.glob("*/*.blob"))) == (device == "CPU")
    assert verify(f2edge.load(tiny_bundle, device)).passed


def test_one_start_at_a_time_fills_the_cache(tiny_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No two starts compile into one directory at once: OpenVINO crashes on half-written files (docs/traps.md)."""
    inside: list[str] = []

    class Slow(ov.Core):  # type: ignore[misc]
        """A ``Core`` that compiles slowly, and refuses to compile twice at once into one directory."""

        def compile_model(self, model: Any, device_name: str, config: dict[str, str]) -> Any:
            directory = config["CACHE_DIR"]
            assert directory not in inside
            inside.append(directory)
            time.sleep(0.2)
            inside.remove(directory)
            return super().compile_model(model, device_name, config)

    monkeypatch.setattr(ov, "Core", Slow)
    before = locale.setlocale(locale.LC_ALL)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(f2edge.load, [tiny_bundle] * 2))
    assert locale.setlocale(locale.LC_ALL) == before
    assert list(cache.glob("*/*.blob"))


def test_a_cache_that_is_taken(tiny_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that another process holds for too long is not used; the bundle is compiled without it."""
    monkeypatch.setattr("f2edge.bundle.user_cache._PATIENCE", 0.1)
    from_cache(tiny_bundle)
    with ExitStack() as stack:
        for directory in cache.iterdir():
            stack.enter_context(claimed(directory))
        assert from_cache(tiny_bundle) == FRESH
    assert from_cache(tiny_bundle) == CACHED


def test_what_the_cache_depends_on(tiny_bundle: Path, tmp_path: Path, cache: Path) -> None:
    """Each combination of bundle, device, driver, version and options has a directory of its own."""
    other = shutil.copytree(tiny_bundle, tmp_path / "other")
    (other / "manifest.json").write_text("{}")
    bundle = open_bundle(tiny_bundle)
    plans = [LoadPlan.of(replace(bundle, path=path), Placement.on("CPU")) for path in (tiny_bundle, other)]
    one, two = (plan.bundle_hash for plan in plans)
    assert one
    assert two
    places = [
        cache_directory(core, device, {"THREADS": threads}, bundle_hash, version)
        for core, device, threads, bundle_hash, version in (
            (Core(), "GPU", 1, one, "1"),
            (Core(), "GPU", 1, one, "1"),
            (Core(), "GPU", 1, two, "1"),
            (Core(), "GPU", 2, one, "1"),
            (Core(), "AUTO", 1, one, "1"),
            (Core(), "CPU", 1, one, "1"),
            (Core(), "GPU", 1, one, "2"),
            (Core(), "NPU", 1, one, "1"),
            (Core(NPU_DRIVER_VERSION=2), "NPU", 1, one, "1"),
        )
    ]
    assert places[0] == places[1]
    assert len(set(places)) == len(places) - 1 == len(list(cache.iterdir()))


@pytest.mark.usefixtures("npu")
def test_nothing_is_written_into_a_bundle(
    tiny_npu_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading writes nothing into a bundle, and works if the cache cannot be written either."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "file" / "cache"))
    before = sorted(tiny_npu_bundle.iterdir())
    assert from_cache(tiny_npu_bundle) == FRESH
    assert sorted(tiny_npu_bundle.iterdir()) == before


@pytest.mark.usefixtures("npu")
def test_the_cache_is_bounded(tiny_npu_bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used directory of the cache is removed; what is in use stays."""
    from_cache(tiny_npu_bundle)
    used = sum(file.stat().st_size for file in cache.glob("*/*"))
    stale = cache / "stale"
    stale.mkdir()
    (stale / "x.blob").write_bytes(bytes(2**20))
    os.utime(stale, (1, 1))
    monkeypatch.setattr(openvino_devices, "_CACHE_BYTES", used + 2**20 - 1)
    assert from_cache(tiny_npu_bundle) == CACHED
    assert not stale.exists()
