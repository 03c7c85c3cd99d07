"""What OpenVINO's devices are called, how each is set up, and where what was compiled for them is kept.

The engine itself is :mod:`f2edge.runtimes.openvino.runtime`; whoever calls a function here hands it a ``Core``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from f2edge.bundle.manifest import sha256
from f2edge.bundle.user_cache import cache_key, clear_oldest, usable_directory
from f2edge.errors import DeviceError
from f2edge.machine import memory_mib
from f2edge.runtimes.device import Device

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov

    from f2edge.targets import Compute, Precision

WEIGHTS = "weights.bin"
"""The file beside the graphs that holds the constants of all of them."""
KERNELS = "64"
"""Kernels that OpenVINO's CPU plugin and its oneDNN each keep for shapes they have seen: with their defaults of
thousands, memory grows with every new length of a prompt (docs/traps.md)."""

_DRIVERS = ("NPU_DRIVER_VERSION", "GPU_DRIVER_VERSION")
_MEMORY = ("GPU_DEVICE_TOTAL_MEM_SIZE", "NPU_DEVICE_TOTAL_MEM_SIZE")
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_MIB = 2**20
_BLOBS = "openvino"
_MOST_BYTES = 4 * 2**30

_ADVICE = {
    "GPU": "no Intel GPU is seen; one that is there needs Intel's compute runtime (Linux: package intel-opencl-icd)",
    "NPU": "no Intel NPU is seen; one that is there needs its driver, github.com/intel/linux-npu-driver on Linux",
}


def check_device(core: ov.Core, device: str) -> None:
    """Refuse a device that is not there; ``AUTO`` and ``AUTO:GPU,CPU`` leave the choice to OpenVINO.

    Raises:
        DeviceError: it, or one that AUTO shall choose from, is not there.
    """
    automatic, _, candidates = device.partition(":")
    wanted = candidates.split(",") if automatic == "AUTO" and candidates else [device]
    seen = {name.split(".")[0] for name in core.available_devices} | {"AUTO"}
    for name in wanted:
        if name.strip().split(".", maxsplit=1)[0] not in seen:
            raise DeviceError(f"OpenVINO has no device {device} here; it has: {', '.join(core.available_devices)}")


def options(
    component: str, device: str, threads: int | None, compute: Compute = "fp32", decoder: Precision = "fp32"
) -> dict[str, Any]:
    """How a graph is compiled for a device.

    GPUs and NPUs compute in fp16, as Intel recommends and as NPUs cannot do otherwise; the CPU, whose default may be
    bf16, in what the component says.  A CPU without bf16 takes it for fp32.
    """
    common = {"PERFORMANCE_HINT": "LATENCY"}
    kind = _kind(device)
    if kind == "CPU":
        return common | _cpu_options(component, threads, compute, decoder)
    if kind == "AUTO":  # it starts on the CPU and goes on elsewhere, and has few properties of its own
        half = {"INFERENCE_PRECISION_HINT": "f16"}
        return common | {"DEVICE_PROPERTIES": {"CPU": _cpu_options(component, threads, compute, decoder), "GPU": half}}
    return common | ({"INFERENCE_PRECISION_HINT": "f16"} if kind == "GPU" else {})


def set_defaults(core: ov.Core, device: str) -> None:
    """What AUTO does not pass on to the CPU has to be the CPU's default (docs/traps.md)."""
    if _kind(device) == "AUTO":
        core.set_property("CPU", {"SNIPPETS_MODE": "DISABLE"})


def _kind(device: str) -> str:
    return device.split(":", maxsplit=1)[0].split(".", maxsplit=1)[0]


def _cpu_options(component: str, threads: int | None, compute: Compute, decoder: Precision) -> dict[str, str]:
    chosen = {"INFERENCE_PRECISION_HINT": _HINTS[compute]}
    if component != "vision":
        # The CPU plugin's fused attention ("snippets") of OpenVINO 2026.4 computes nonsense from the 17th token on
        # where its key length grows (logits off by 20 and more); see docs/traps.md.
        chosen |= {"SNIPPETS_MODE": "DISABLE", "CPU_RUNTIME_CACHE_CAPACITY": KERNELS}
        # Its default is 8 bits, whatever the precision hint says.  16 add nothing to the error of INT8 weights, and a
        # step of three beams at position 250 takes 0.9 of the time (docs/performance.md).
        chosen["KV_CACHE_PRECISION"] = "f16" if decoder == "int8" else "f32"
    return chosen | ({"INFERENCE_NUM_THREADS": str(threads)} if threads else {})


def may_cache(component: str, device: str, decoder: Precision) -> bool:
    """Whether a graph is as fast from OpenVINO's cache as without.

    What the CPU plugin caches of a graph forgets that fp16 weights shall stay so while a step multiplies by them: from
    the cache a decoder has fp32 weights, and a step takes twice as long (docs/traps.md).
    """
    return not (component == "decoder" and device == "CPU" and decoder == "fp16")


def cache_options(core: ov.Core, device: str, chosen: dict[str, Any], manifest: Path, version: str) -> dict[str, str]:
    """Where OpenVINO may keep what it compiles of a bundle for a device; nothing where no file can be written.

    One directory for each bundle, device, driver, version and options, some of which OpenVINO's own key leaves out.
    For the CPU it holds the graphs as the plugin has rewritten them; weights stay in the bundle (docs/devices.md).
    """
    device_key = {"device": device, "identity": identity(core, device), "options": chosen}
    directory = usable_directory(_BLOBS, cache_key({"manifest": sha256(manifest), "openvino": version, **device_key}))
    if directory is None:
        return {}
    mode = {"CACHE_MODE": "OPTIMIZE_SIZE", "WEIGHTS_PATH": str(manifest.with_name(WEIGHTS))} if device == "CPU" else {}
    return {"CACHE_DIR": str(directory)} | mode


def bound_cache() -> None:
    """Make room for what was compiled now, by removing what was not used for longest."""
    clear_oldest(_BLOBS, _MOST_BYTES)


def identity(core: ov.Core, device: str) -> str:
    """Return name and driver of a device, or of all visible devices if OpenVINO chooses among them ("AUTO")."""
    names = core.available_devices if device.startswith("AUTO") else [device]
    return "; ".join(describe(core, name).identity for name in names)


def describe(core: ov.Core, device: str) -> Device:
    """Ask OpenVINO for the properties of one device."""
    return Device(
        runtime="openvino",
        device=device,
        name=_text(core, device, "FULL_DEVICE_NAME"),
        driver=_driver(core, device),
        memory_mib=_memory(core, device),
        capabilities=tuple(map(str, _property(core, device, "OPTIMIZATION_CAPABILITIES") or ())),
    )


def missing(core: ov.Core) -> list[str]:
    """A line for each kind of device that is not seen."""
    seen = {name.split(".")[0] for name in core.available_devices}
    return [f"openvino: {advice}" for device, advice in _ADVICE.items() if device not in seen]


def _driver(core: ov.Core, device: str) -> str:
    return next(filter(None, (_text(core, device, name) for name in _DRIVERS)), "")


def _memory(core: ov.Core, device: str) -> int | None:
    sizes = (_property(core, device, name) for name in _MEMORY)
    own = next((int(size) // _MIB for size in sizes if size), None)
    return memory_mib() if device == "CPU" else own


def _text(core: ov.Core, device: str, name: str) -> str:
    value = _property(core, device, name)
    return "" if value is None else str(value).strip()


def _property(core: ov.Core, device: str, name: str) -> Any:
    """Nothing where the device has no such property."""
    try:
        return core.get_property(device, name)
    except RuntimeError:
        return None
