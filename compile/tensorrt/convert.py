"""Write typed graphs that a device builds TensorRT engines from, or build engines ahead of time for RTX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from f2edge.compile.tensorrt.half import to_half
from f2edge.compile.tensorrt.rounded import to_rounded
from f2edge.quantize.onnx_files import save_onnx
from f2edge.runtimes.onnxruntime.runtime import load_graphs
from f2edge.runtimes.tensorrt.build import BuildOptions, build_engine
from f2edge.runtimes.tensorrt.library import load_library

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.quantize.onnx_files import WeightFile
    from f2edge.runtimes.onnxruntime.runtime import OnnxRuntime
    from f2edge.runtimes.tensorrt.profiles import Profile
    from f2edge.targets import Precision

AHEAD_OF_TIME = "rtx"
"""The target whose engines are built without a GPU; bundles for other targets hold graphs."""

_NOT_RUN = "CPU, ONNX Runtime in place of TensorRT, whose engines were not run"


def compile_tensorrt(
    source: Path,
    directory: Path,
    weights: WeightFile,
    scratch: Path,
    *,
    target: str,
    precision: Precision,
    profile: Profile,
    compute_capabilities: Sequence[int] = (),
) -> list[Path]:
    """Turn one graph into the files of a bundle for TensorRT.

    Args:
        source: the exported graph, float or with Q/DQ nodes; its stem names the component.
        directory: where the files go.
        weights: where the weights of a graph go.
        scratch: where the graph of an engine goes; :func:`stand_in` reads it.
        target: ``rtx`` for an engine, any other for a graph.
        precision: ``fp32`` leaves the graph as it is; other precisions use fp16 wherever possible.
        profile: the ranges of its shapes.
        compute_capabilities: the compute capabilities of the GPUs that an engine runs on, 86 for 8.6; none for all.

    Returns:
        The files written, the main one first.

    Raises:
        CompileError: a weight does not fit into fp16, or TensorRT refuses the graph; the node is named.
        MissingExtraError: ``tensorrt_rtx`` is not installed.
    """
    if target != AHEAD_OF_TIME:
        return _typed(source, directory / source.name, weights, precision)
    trt = load_library(target)
    graph, *_ = _typed(source, scratch / source.name, None, precision)
    engine = directory / f"{source.stem}.engine"
    options = BuildOptions(compute_capabilities=compute_capabilities, tf32=precision != "fp32")
    engine.write_bytes(build_engine(trt, graph, profile, options).plan)
    return [engine]


def stand_in(bundle: Bundle, scratch: Path) -> OnnxRuntime:
    """Open the graphs of the engines in ONNX Runtime, to verify them without a GPU.

    The result of every node is rounded to fp16, so a model whose values leave the range of fp16 does not pass.

    Args:
        bundle: a draft for TensorRT.
        scratch: the directory that :func:`compile_tensorrt` was given.
    """
    rounded = {}
    for name in bundle.components:
        file = bundle.file(name)
        graph = file if file.suffix == ".onnx" else scratch / f"{name}.onnx"
        rounded[name], *_ = to_rounded(graph, scratch / f"rounded-{name}.onnx")
    runtime = load_graphs(rounded)
    runtime.device = _NOT_RUN
    return runtime


def _typed(source: Path, destination: Path, weights: WeightFile | None, precision: Precision) -> list[Path]:
    if precision == "fp32":
        return save_onnx(onnx.load(source), destination, weights)
    return to_half(source, destination, weights)
