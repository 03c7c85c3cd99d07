"""ONNX graphs opened in OpenVINO without a bundle, and its rounding of activations turned off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.compile.openvino.convert import compile_openvino
from f2edge.placement import Placement
from f2edge.quantize.onnx_files import WeightFile
from f2edge.runtimes.openvino import devices as openvino_devices
from f2edge.runtimes.openvino.loading import LoadPlan
from f2edge.runtimes.openvino.runtime import OpenVINORuntime

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from f2edge.targets import Precision


def in_openvino(
    graphs: dict[str, Path], directory: Path, layers: int, decoder_precision: Precision = "fp32"
) -> OpenVINORuntime:
    """Open ONNX graphs in OpenVINO."""
    directory.mkdir(exist_ok=True)
    weights = WeightFile(directory / "weights.bin")
    for name, graph in graphs.items():
        compile_openvino(graph, directory / f"{name}.xml", weights, decoder_layers=layers, fp16=False)
    converted = {name: directory / f"{name}.xml" for name in graphs}
    return OpenVINORuntime(LoadPlan(converted, Placement.on("CPU"), decoder_precision=decoder_precision))


def without_dynamic_quantization(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off OpenVINO's rounding of activations before INT8 weights, which hides smaller differences."""
    usual, exact = openvino_devices.compile_options, {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    monkeypatch.setattr(
        "f2edge.runtimes.openvino.loading.compile_options", lambda *a, **named: usual(*a, **named) | exact
    )
