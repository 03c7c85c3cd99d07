"""The graphs of a bundle: each compiled for the target, their weights in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.bundle.manifest import COMPONENTS, Component, sha256
from f2edge.quantize.onnx_files import WeightFile
from f2edge.runtimes.tensorrt.profiles import profiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from f2edge.compile.checkpoint.load import Checkpoint
    from f2edge.compile.options import Listener, Options
    from f2edge.targets import Compute, Precision

WEIGHTS = {"openvino": "weights.bin", "onnxruntime": "weights.data", "tensorrt": "weights.data"}
"""The file that holds the constants of all graphs, by runtime."""


@dataclass(frozen=True)
class Plan:
    """What a bundle is made of.

    Args:
        graphs: the ONNX graphs by component.
        precisions: of each.
        compute: what a processor computes each one's float operations in.
        quantization: what is known of the choice, for the manifest.
    """

    graphs: Mapping[str, Path]
    precisions: dict[str, Precision]
    compute: Mapping[str, Compute]
    quantization: Mapping[str, Any]


def compile_components(
    directory: Path, plan: Plan, options: Options, loaded: Checkpoint, scratch: Path, listener: Listener
) -> dict[str, Component]:
    """Compile the graphs of a plan into a directory.

    Args:
        directory: where the files go.
        plan: graphs and precisions.
        options: of the build.
        loaded: the checkpoint.
        scratch: for what is needed to verify the bundle, but not to run it.
        listener: told of each component.

    Raises:
        CompileError: an engine's tool cannot convert a graph, or cannot write it.
    """
    weights = WeightFile(directory / WEIGHTS[options.target.runtime])
    files = {}
    for name in COMPONENTS:
        listener.stage(f"compile {name}")
        work = _Work(plan.graphs[name], directory, weights, plan.precisions[name], options, loaded)
        files[name] = _TOOLS[options.target.runtime](work, scratch)
    hashes = {file: sha256(file) for paths in files.values() for file in paths}
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


@dataclass(frozen=True)
class _Work:
    """One graph to compile."""

    source: Path
    directory: Path
    weights: WeightFile
    precision: Precision
    options: Options
    loaded: Checkpoint

    @property
    def fp16(self) -> bool:
        """Whether float weights are stored in half precision: also those that INT8 leaves float."""
        return self.precision != "fp32"


# Each target needs its own tool only, so that is imported when it is used.


def _openvino(work: _Work, _scratch: Path) -> list[Path]:
    from f2edge.compile.openvino.convert import compile_openvino  # noqa: PLC0415

    xml, layers = work.directory / f"{work.source.stem}.xml", work.loaded.model.geometry.decoder_layers
    return compile_openvino(work.source, xml, work.weights, decoder_layers=layers, fp16=work.fp16)


def _onnxruntime(work: _Work, _scratch: Path) -> list[Path]:
    from f2edge.compile.onnx_graph import compile_onnx  # noqa: PLC0415

    return compile_onnx(work.source, work.directory / f"{work.source.stem}.onnx", work.weights, fp16=work.fp16)


def _tensorrt(work: _Work, scratch: Path) -> list[Path]:
    from f2edge.compile.tensorrt.convert import compile_tensorrt  # noqa: PLC0415

    return compile_tensorrt(
        work.source,
        work.directory,
        work.weights,
        scratch,
        target=work.options.target.name,
        precision=work.precision,
        profile=profiles(work.loaded.model.geometry, work.loaded.settings)[work.source.stem],
        compute_capabilities=work.options.compute_capabilities,
    )


_TOOLS = {"openvino": _openvino, "onnxruntime": _onnxruntime, "tensorrt": _tensorrt}
