"""The graphs to compile: exported, and for INT8 recorded on and quantized; each step a stage of its own."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING

import onnx

from f2edge.bundle.manifest import sha256
from f2edge.bundle.user_cache import digest
from f2edge.calibration.recorder import Recorder, Records
from f2edge.calibration.sources import select_samples
from f2edge.compile.export.fixed_shapes import static_graphs
from f2edge.compile.export.graphs import export, graphs
from f2edge.compile.stages import digest_of_weights
from f2edge.quantize.onnx_files import save_onnx
from f2edge.runtimes.onnxruntime import load_graphs

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.limits import Limits
    from f2edge.calibration.sources import Selection
    from f2edge.compile.checkpoint.load import Checkpoint
    from f2edge.compile.options import Listener, Options
    from f2edge.compile.stages import Stages
    from f2edge.evaluation import Sample

ORDER = ("decoder", "vision", "encoder")
"""Of quantization: the encoder looks prompts up in the decoder's table."""


def export_graphs(
    loaded: Checkpoint, stages: Stages, listener: Listener, shapes: Limits | None = None
) -> dict[str, Path]:
    """The float graphs by component; of fixed shapes where some are given."""
    model = loaded.model
    inputs = {"weights": digest_of_weights(model), "geometry": model.geometry.to_json()}
    if shapes:
        inputs["shapes"] = asdict(shapes)
    exported = {}
    for name, graph in (static_graphs(model, shapes) if shapes else graphs(model)).items():
        listener.stage(f"export {name}")
        place = stages.run(f"export {name}", inputs, lambda to, g=graph, n=name: export(g, to / f"{n}.onnx"))  # type: ignore[misc]
        exported[name] = place / f"{name}.onnx"
    return exported


def quantized_graphs(
    exported: dict[str, Path], records: Records, options: Options, stages: Stages, listener: Listener
) -> dict[str, Path]:
    """The INT8 graphs by component.

    Raises:
        CompileError: NNCF cannot quantize a graph.
    """
    from f2edge.quantize.ptq import quantize  # noqa: PLC0415 - only INT8 needs nncf
    from f2edge.quantize.tables import share_table  # noqa: PLC0415

    quantized: dict[str, Path] = {}
    for name in ORDER:

        def make(directory: Path, name: str = name) -> None:
            model = quantize(name, onnx.load(exported[name]), records, options.decoder_weights)
            if name == "encoder":
                share_table(model.graph, onnx.load(quantized["decoder"]).graph)
            save_onnx(model, directory / f"{name}.onnx")

        listener.stage(f"quantize {name}")
        inputs = {
            "graph": exported[name].parent.name,
            "records": records.directory.name,
            "table": quantized["decoder"].parent.name if name == "encoder" else None,
            "weights": options.decoder_weights,
        }
        quantized[name] = stages.run(f"quantize {name}", inputs, make) / f"{name}.onnx"
    return quantized


def record(
    exported: dict[str, Path], loaded: Checkpoint, selection: Selection, stages: Stages, listener: Listener
) -> Records:
    """What the pictures make flow through the float graphs."""
    geometry = loaded.model.geometry

    def make(directory: Path) -> None:
        recorder = Recorder(load_graphs(exported), loaded.tokenizer, loaded.settings, Records(directory, geometry))
        count = len(selection.samples)
        recorder.record(selection.samples, lambda n: listener.detail(f"record {n} of {count}"))

    listener.stage("record")
    inputs = {
        "graphs": {name: path.parent.name for name, path in exported.items()},
        "tokenizer": hashlib.sha256(loaded.tokenizer.to_text().encode()).hexdigest(),
        "settings": asdict(loaded.settings),
        "samples": [_identity(sample) for sample in selection.samples],
    }
    return Records(stages.run("record", inputs, make, resumes=True), geometry)


def select(options: Options, listener: Listener) -> Selection | None:
    """What to calibrate on; nothing unless INT8 is asked for.

    Raises:
        InputError, DatasetError: there is nothing to calibrate on.
    """
    if options.calibration is None:
        return None
    selection = select_samples(options.calibration, options.samples)
    if selection.unreadable:
        names = ", ".join(selection.unreadable)
        listener.notice(f"{len(selection.unreadable)} pictures cannot be read and were left out: {names}")
    if len(selection.samples) < options.samples:
        listener.notice(f"calibrating on {len(selection.samples)} pictures; {options.samples} would be better")
    return selection


def _identity(sample: Sample) -> str:
    """A hash of a picture's bytes and of its questions."""
    return digest([sha256(sample.image), [asdict(question) for question in sample.questions]])  # type: ignore[arg-type]
