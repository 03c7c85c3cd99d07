"""The devices that a bundle can be compiled for, one row each; docs/devices.md explains how to use them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from f2edge.errors import CompileError

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
Compute: TypeAlias = Literal["fp32", "bf16"]
"""The type that the float operations of a component run in; bf16 falls back to fp32 on a CPU without it."""
PrecisionOption: TypeAlias = Literal["fp32", "fp16", "bf16", "int8"]
"""A precision to compile to.  bf16 names a type to compute in; its weights are stored in fp16."""


@dataclass(frozen=True)
class Target:
    """One kind of device.

    Args:
        name: the name of the target.
        runtime: the engine that runs it, a module of ``f2edge.runtimes``.
        device: the name that the engine gives the device.
        precisions: the default precision of each component.
        why: the reason for that precision, in one sentence.
        memory_gib: memory sizes that the device is sold with; none if it shares the memory of the machine.
        capabilities: the types that it computes in; for NVIDIA also its compute capabilities.
        architectures: the processors that the engine has a build for.
        static: whether it takes graphs of fixed shapes only.
        dynamic_int8: whether its engine rounds activations to INT8 as they come, so that INT8 needs no calibration.
        other_devices: devices without a target of their own that run its bundles, too.
    """

    name: str
    runtime: Literal["openvino", "onnxruntime", "tensorrt"]
    device: str
    precisions: dict[str, Precision]
    why: str
    memory_gib: tuple[int, ...] = ()
    capabilities: tuple[str, ...] = ("fp32", "int8")
    architectures: tuple[str, ...] = ("x86-64",)
    static: bool = False
    dynamic_int8: bool = False
    other_devices: tuple[str, ...] = ()


def _all(precision: Precision) -> dict[str, Precision]:
    return {"vision": precision, "encoder": precision, "decoder": precision}


_BOTH = ("x86-64", "arm64")
_HALF = ("fp16", "int8")


def _jetson(name: str, why: str, memory_gib: tuple[int, ...], *capabilities: str) -> Target:
    row = (_all("fp16"), why, memory_gib, capabilities, ("arm64",))
    return Target(name, "tensorrt", "CUDA", *row)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "cpu",
            "openvino",
            "CPU",
            _all("fp16"),
            "fp16 weights halve the bundle; the CPU computes in fp32, so answers are those of the checkpoint",
            capabilities=("fp32", "bf16", "int8"),
            architectures=_BOTH,
            dynamic_int8=True,
        ),
        Target(
            "onnx",
            "onnxruntime",
            "CPU",
            _all("fp32"),
            "portable: any machine that ONNX Runtime has a build for, 64-bit ARM boards among them",
            architectures=_BOTH,
            dynamic_int8=True,
            other_devices=("CUDA",),
        ),
        Target(
            "igpu",
            "openvino",
            "GPU",
            _all("fp16"),
            "Intel's GPUs compute in fp16 unless told otherwise, and share the machine's memory",
            capabilities=("fp32", *_HALF),
        ),
        Target(
            "npu",
            "openvino",
            "NPU",
            _all("fp16"),
            "the hardware computes in fp16 and INT8, and takes fixed shapes only",
            capabilities=_HALF,
            static=True,
        ),
        _jetson("jetson", "any Jetson: the engines are built there; INT8 rarely beats fp16 for a ViT", (), *_HALF),
        _jetson("jetson-orin-nano", "fp16, as everything shares 8 GB and INT8 rarely beats it", (4, 8), *_HALF, "8.7"),
        _jetson(
            "jetson-orin-nx", "fp16: the GPU has tensor cores for it, INT8 rarely beats it", (8, 16), *_HALF, "8.7"
        ),
        _jetson("jetson-agx-orin", "fp16: memory is plenty, INT8 rarely beats it for a ViT", (32, 64), *_HALF, "8.7"),
        _jetson("jetson-thor", "fp16 until its FP8 and FP4 have been measured", (64, 128), "fp8", *_HALF, "11.0"),
        Target(
            "rtx",
            "tensorrt",
            "CUDA",
            _all("fp16"),
            "engines built ahead of time, with no GPU; fp16, since INT8 rarely beats it for a ViT",
            capabilities=(*_HALF, "7.5", "8.0", "8.6", "8.9", "12.0", "12.1"),
        ),
    )
}


def get_target(name: str) -> Target:
    """Return the target of this name.

    Raises:
        CompileError: there is no such target.
    """
    target = TARGETS.get(name)
    if target is None:
        close = difflib.get_close_matches(name, TARGETS, 1)
        hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(TARGETS)}"
        raise CompileError(f"unknown target {name}{hint}")
    return target
