"""Bundles for TensorRT: typed graphs that the device builds engines from, or engines built ahead of time for RTX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from f2edge.compile.tensorrt.half import to_half
from f2edge.compile.tensorrt.rounded import to_rounded
from f2edge.quantize.onnx_files import save_onnx
from f2edge.runtimes.onnxruntime import load_graphs
from f2edge.runtimes.tensorrt.build import BuildOptions, build_engine
from f2edge.runtimes.tensorrt.library import load_library

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.quantize.onnx_files import WeightFile
    from f2edge.runtimes.onnxruntime import OnnxRuntime
    from f2edge.runtimes.tensorrt.profiles import Profile
    from f2edge.targets import Precision

AHEAD_OF_TIME = "rtx"
"""The target whose engines need no GPU to be built; every other gets graphs, and builds its own."""

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
    """Turn one graph into what a bundle for TensorRT holds of it.

    Args:
        source: the exported graph, float or with Q/DQ nodes; its stem names the component.
        directory: where the files go.
        weights: where a graph's weights go.
        scratch: where the graph goes that an engine is made of; :func:`stand_in` wants it.
        target: ``rtx`` for an engine, any other for a graph.
        precision: ``fp32`` leaves the graph as it is; below, everything is fp16 that can be.
        profile: the ranges of its shapes.
        compute_capabilities: of the GPUs that an engine shall run on, 86 for 8.6; none for all.

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
    """ONNX Runtime over the graphs that the engines are made of: what can be verified without a GPU.

    It rounds like fp16 after every node, so a model whose values leave the range of fp16 does not pass.

    Args:
        bundle: a draft for TensorRT.
        scratch: as :func:`compile_tensorrt` was given it.
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
