"""The devices that a bundle can be compiled for, one row each."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from f2edge.errors import CompileError

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Target:
    """One kind of device.

    Args:
        name: what ``--target`` calls it.
        runtime: the module of ``f2edge.runtimes`` that runs it.
        device: the engine's own name of the device.
        precision: default precision of every component.
        why: one sentence on that choice.
        available: whether this version can compile for it.
    """

    name: str
    runtime: Literal["openvino", "onnxruntime", "tensorrt"]
    device: str
    precision: Precision
    why: str
    available: bool = True


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("cpu", "openvino", "CPU", "fp16", "fp16 weights halve the bundle; the CPU computes in fp32"),
        Target("onnx", "onnxruntime", "CPU", "fp32", "portable: any machine that ONNX Runtime has a build for"),
        Target("igpu", "openvino", "GPU", "fp16", "integrated GPUs compute in fp16", available=False),
        Target("npu", "openvino", "NPU", "fp16", "NPUs take fp16 and INT8, static shapes only", available=False),
        Target("jetson", "tensorrt", "CUDA", "fp16", "INT8 rarely beats fp16 for a ViT on TensorRT"),
        Target("rtx", "tensorrt", "CUDA", "fp16", "engines built ahead of time, with no GPU"),
    )
}


def get_target(name: str) -> Target:
    """The target called ``name``.

    Raises:
        CompileError: there is none, or this version cannot compile for it yet.
    """
    target = TARGETS.get(name)
    if target is None:
        close = difflib.get_close_matches(name, TARGETS, 1)
        hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(TARGETS)}"
        raise CompileError(f"unknown target {name}{hint}")
    if not target.available:
        ready = ", ".join(t.name for t in TARGETS.values() if t.available)
        raise CompileError(f"target {name} is not there yet in this version; available: {ready}")
    return target
