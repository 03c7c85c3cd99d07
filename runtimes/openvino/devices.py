"""OpenVINO's devices: their properties, how graphs are compiled for each, and where compiled models are cached.

This module does not import OpenVINO: callers pass their ``Core``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from f2edge.bundle.user_cache import cache_key, clear_oldest, usable_directory
from f2edge.errors import DeviceError
from f2edge.machine import instruction_sets, memory_mib
from f2edge.runtimes.device import Device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import openvino as ov

    from f2edge.targets import Compute, Precision

WEIGHTS = "weights.bin"
"""The file beside the graphs that holds the weights of all of them."""
KERNELS = "64"
"""Kernels that OpenVINO's CPU plugin and its oneDNN each cache for shapes they have seen.  Their defaults are
thousands, with which memory grows with every new prompt length (docs/traps.md)."""

DYNAMIC_GROUP = "128"
"""Activations of vision and encoder that share a scale where they are rounded as they come, before INT8 weights without
calibration.  Smaller and larger groups are slower; one scale for a row would switch the rounding off (docs/int8.md)."""

_DRIVER_PROPERTIES = ("NPU_DRIVER_VERSION", "GPU_DRIVER_VERSION")
_MEMORY_PROPERTIES = ("GPU_DEVICE_TOTAL_MEM_SIZE", "NPU_DEVICE_TOTAL_MEM_SIZE")
_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16"}
_MIB = 2**20
_CACHE = "openvino"
_CACHE_BYTES = 4 * 2**30

_ADVICE = {
    "GPU": "no Intel GPU is visible; if there is one, install Intel's compute runtime (Linux: intel-opencl-icd)",
    "NPU": "no Intel NPU is visible; if there is one, install its driver (Linux: github.com/intel/linux-npu-driver)",
}


def check_device(core: ov.Core, device: str) -> None:
    """Refuse a device that is not there; ``AUTO`` and ``AUTO:GPU,CPU`` leave the choice to OpenVINO.

    Raises:
        DeviceError: OpenVINO does not see the device, or one that AUTO is to choose from.
    """
    automatic, _, candidates = device.partition(":")
    wanted = candidates.split(",") if automatic == "AUTO" and candidates else [device]
    visible = {name.split(".")[0] for name in core.available_devices} | {"AUTO"}
    for name in wanted:
        if name.strip().split(".", maxsplit=1)[0] not in visible:
            present = ", ".join(core.available_devices)
            raise DeviceError(f"OpenVINO has no device {device} here; it has: {present}; `device` CPU runs the bundle")


def compile_options(
    component: str,
    device: str,
    threads: int | None,
    compute: Compute = "fp32",
    decoder_precision: Precision = "fp32",
    workers: int = 1,
) -> dict[str, Any]:
    """Return the options to compile a component for a device with.

    GPUs and NPUs compute in fp16: Intel recommends it, and NPUs support nothing wider.  The CPU, which may default to
    bf16, is told what to compute in.

    Args:
        component: "vision", "encoder" or "decoder".
        device: OpenVINO's name of the device.
        threads: CPU threads of all workers; None leaves the number to OpenVINO.
        compute: data type of float operations on the CPU; a CPU without bf16 computes in fp32 instead.
        decoder_precision: data type of the decoder's stored weights.
        workers: how many threads of the program run the graph at the same time; each gets a stream of its own, and its
            share of the CPU threads.
    """
    common = {"PERFORMANCE_HINT": "LATENCY"}
    streams = {"NUM_STREAMS": str(workers)} if workers > 1 else {}
    on_cpu = _cpu_options(component, threads, compute, decoder_precision) | streams
    on_gpu = {"INFERENCE_PRECISION_HINT": "f16"} | streams
    kind = _kind(device)
    if kind == "AUTO":  # it starts on the CPU, moves to another device later, and has few properties of its own
        return common | {"DEVICE_PROPERTIES": {"CPU": on_cpu, "GPU": on_gpu}}
    return common | {"CPU": on_cpu, "GPU": on_gpu}.get(kind, {})


def set_defaults(core: ov.Core, device: str) -> None:
    """Make defaults of the CPU of those options that AUTO does not pass on to it (docs/traps.md)."""
    if _kind(device) == "AUTO":
        core.set_property("CPU", {"SNIPPETS_MODE": "DISABLE"})


def _kind(device: str) -> str:
    return device.split(":", maxsplit=1)[0].split(".", maxsplit=1)[0]


def _cpu_options(component: str, threads: int | None, compute: Compute, decoder_precision: Precision) -> dict[str, str]:
    chosen = {"INFERENCE_PRECISION_HINT": _PRECISION_HINTS[compute]}
    if component != "vision":
        # The CPU plugin's fused attention ("snippets") of OpenVINO 2026.4 gives wrong results from the 17th token on
        # if the length of the keys grows (logits are off by 20 and more); see docs/traps.md.
        chosen |= {"SNIPPETS_MODE": "DISABLE", "CPU_RUNTIME_CACHE_CAPACITY": KERNELS}
        # The default is 8 bits, whatever the precision hint says.  16 bits do not add to the error of INT8 weights,
        # and a step of three beams at position 250 takes 0.9 of the time (docs/performance-design.md).
        chosen["KV_CACHE_PRECISION"] = "f16" if decoder_precision == "int8" else "f32"
    if component != "decoder":
        chosen["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = DYNAMIC_GROUP
    if threads:
        # OpenVINO would pin the threads of every process to the same first cores (docs/traps.md).
        chosen |= {"INFERENCE_NUM_THREADS": str(threads), "ENABLE_CPU_PINNING": "NO"}
    return chosen


def may_cache(component: str, device: str, decoder_precision: Precision) -> bool:
    """Tell whether a graph may come from OpenVINO's cache.

    Under ``AUTO`` OpenVINO writes into the cache at any time, so that nobody could tell a finished file from a damaged
    one.  On other devices it is a matter of speed.

    The CPU plugin's cache does not record that fp16 weights are multiplied as they are stored.  A decoder from the
    cache therefore has fp32 weights, and a step takes twice as long (docs/traps.md).
    """
    slow = component == "decoder" and device == "CPU" and decoder_precision == "fp16"
    return not (slow or _kind(device) == "AUTO")


def cache_directory(
    core: ov.Core, device: str, chosen: Mapping[str, Any], bundle_hash: str, version: str
) -> Path | None:
    """Make the directory in which OpenVINO may keep what it compiles of a bundle for a device.

    There is one directory for each combination of bundle, device, driver, OpenVINO version and options; OpenVINO's own
    key leaves some of the options out.

    Args:
        core: OpenVINO.
        device: OpenVINO's name of the device.
        chosen: what :func:`compile_options` returned, and whatever else decides what is compiled.
        bundle_hash: SHA-256 of the bundle's manifest.
        version: OpenVINO's version.

    Returns:
        The directory, or None if no file can be written there.
    """
    key = {"manifest": bundle_hash, "openvino": version, "device": device, "identity": identity(core, device)}
    return usable_directory(_CACHE, cache_key({**key, "options": chosen}))


def cache_options(directory: Path, device: str, weights: Path) -> dict[str, str]:
    """Return the options that let OpenVINO use a cache directory.

    For the CPU the directory holds the graphs as the plugin has rewritten them, without their weights, which are read
    from ``weights`` of the bundle (docs/devices.md).
    """
    graph_only = {"CACHE_MODE": "OPTIMIZE_SIZE", "WEIGHTS_PATH": str(weights)} if device == "CPU" else {}
    return {"CACHE_DIR": str(directory)} | graph_only


def bound_cache() -> None:
    """Remove the least recently used directories of the cache until it holds at most 4 GiB."""
    clear_oldest(_CACHE, _CACHE_BYTES)


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
        instruction_sets=instruction_sets() if device == "CPU" else (),
    )


def missing(core: ov.Core) -> list[str]:
    """Say what to install for each kind of device that is not visible, one line each."""
    visible = {name.split(".")[0] for name in core.available_devices}
    return [f"openvino: {advice}" for device, advice in _ADVICE.items() if device not in visible]


def _driver(core: ov.Core, device: str) -> str:
    return next(filter(None, (_text(core, device, name) for name in _DRIVER_PROPERTIES)), "")


def _memory(core: ov.Core, device: str) -> int | None:
    if device == "CPU":
        return memory_mib()
    sizes = (_property(core, device, name) for name in _MEMORY_PROPERTIES)
    return next((int(size) // _MIB for size in sizes if size), None)


def _text(core: ov.Core, device: str, name: str) -> str:
    value = _property(core, device, name)
    return "" if value is None else str(value).strip()


def _property(core: ov.Core, device: str, name: str) -> Any:
    """Return a property, or None if the device does not have it."""
    try:
        return core.get_property(device, name)
    except RuntimeError:
        return None
