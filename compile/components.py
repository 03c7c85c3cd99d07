"""Compile the graphs of a bundle for its target, with their weights in one file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from f2edge.bundle.manifest import Component, sha256
from f2edge.quantize.onnx_files import WeightFile
from f2edge.runtimes.tensorrt.profiles import profiles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from f2edge.compile.checkpoint.load import Checkpoint
    from f2edge.compile.options import Options
    from f2edge.targets import Compute, Precision

WEIGHTS = {"openvino": "weights.bin", "onnxruntime": "weights.data", "tensorrt": "weights.data"}
"""The file that holds the constants of all graphs, by runtime."""


@dataclass(frozen=True)
class Plan:
    """The graphs that a bundle is made of.

    Args:
        graphs: the ONNX graph of each component.
        precisions: the precision of each component.
        compute: the type that a CPU runs the float operations of each component in.
    """

    graphs: Mapping[str, Path]
    precisions: Mapping[str, Precision]
    compute: Mapping[str, Compute]


@dataclass(frozen=True)
class ComponentCompiler:
    """Compiles the graphs of one bundle.

    Args:
        directory: where the compiled files go.
        scratch: for files that are needed to verify the bundle, but not to run it.
        options: what was asked for.
        checkpoint: the model that the graphs were traced from.
    """

    directory: Path
    scratch: Path
    options: Options
    checkpoint: Checkpoint

    @cached_property
    def weights(self) -> WeightFile:
        """The file of weights that all graphs share."""
        return WeightFile(self.directory / WEIGHTS[self.options.target.runtime])

    def compile(self, graph: Path, precision: Precision) -> list[Path]:
        """Compile the ONNX graph of one component, which its stem names.

        Returns:
            The files written, the graph first.

        Raises:
            CompileError: the tool of the engine cannot convert the graph, or cannot write it.
        """
        return _TOOLS[self.options.target.runtime](self, graph, precision)


def describe(plan: Plan, files: Mapping[str, Sequence[Path]]) -> dict[str, Component]:
    """Describe the compiled components of a plan for the manifest, with the hash of every file."""
    hashes = {path: sha256(path) for paths in files.values() for path in paths}
    return {
        name: Component(
            name=name,
            file=paths[0].name,
            precision=plan.precisions[name],
            sha256={path.name: hashes[path] for path in paths},
            compute=plan.compute[name],
        )
        for name, paths in files.items()
    }


def _stores_half(precision: Precision) -> bool:
    """Tell whether float weights are stored in half precision; those that INT8 leaves float are, too."""
    return precision != "fp32"


# Each target needs its own tool only, so that is imported when it is used.


def _openvino(compiler: ComponentCompiler, graph: Path, precision: Precision) -> list[Path]:
    from f2edge.compile.openvino.convert import compile_openvino  # noqa: PLC0415

    xml, layers = compiler.directory / f"{graph.stem}.xml", compiler.checkpoint.model.geometry.decoder_layers
    return compile_openvino(graph, xml, compiler.weights, decoder_layers=layers, fp16=_stores_half(precision))


def _onnxruntime(compiler: ComponentCompiler, graph: Path, precision: Precision) -> list[Path]:
    from f2edge.compile.onnxruntime.convert import compile_onnx  # noqa: PLC0415

    return compile_onnx(
        graph, compiler.directory / f"{graph.stem}.onnx", compiler.weights, fp16=_stores_half(precision)
    )


def _tensorrt(compiler: ComponentCompiler, graph: Path, precision: Precision) -> list[Path]:
    from f2edge.compile.tensorrt.convert import compile_tensorrt  # noqa: PLC0415

    return compile_tensorrt(
        graph,
        compiler.directory,
        compiler.weights,
        compiler.scratch,
        target=compiler.options.target.name,
        precision=precision,
        profile=profiles(compiler.checkpoint.model.geometry, compiler.checkpoint.settings)[graph.stem],
        compute_capabilities=compiler.options.compute_capabilities,
    )


_TOOLS = {"openvino": _openvino, "onnxruntime": _onnxruntime, "tensorrt": _tensorrt}
