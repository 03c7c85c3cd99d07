"""The graphs of a bundle: each compiled for the target, their weights in one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.bundle import COMPONENTS, Component, sha256
from f2edge.compile.onnx_graph import WeightFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from f2edge.compile.options import Listener
    from f2edge.targets import Compute, Precision, Target

WEIGHTS = {"openvino": "weights.bin", "onnxruntime": "weights.data"}
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
    directory: Path, plan: Plan, target: Target, decoder_layers: int, listener: Listener
) -> dict[str, Component]:
    """Compile the graphs of a plan into a directory.

    Raises:
        CompileError: an engine's tool cannot convert a graph, or cannot write it.
    """
    weights = WeightFile(directory / WEIGHTS[target.runtime])
    files = {}
    for name in COMPONENTS:
        listener.stage(f"compile {name}")
        fp16 = plan.precisions[name] != "fp32"  # what INT8 leaves float is stored in half precision
        files[name] = _compile(plan.graphs[name], directory, weights, target, decoder_layers, fp16=fp16)
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


def _compile(
    source: Path, directory: Path, weights: WeightFile, target: Target, decoder_layers: int, *, fp16: bool
) -> list[Path]:
    if target.runtime == "onnxruntime":
        from f2edge.compile.onnx_graph import compile_onnx  # noqa: PLC0415 - each target needs its own tool only

        return compile_onnx(source, directory / f"{source.stem}.onnx", weights, fp16=fp16)
    from f2edge.compile.openvino import compile_openvino  # noqa: PLC0415

    xml = directory / f"{source.stem}.xml"
    return compile_openvino(source, xml, weights, decoder_layers=decoder_layers, fp16=fp16)
