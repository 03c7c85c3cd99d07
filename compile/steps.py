"""The steps of a compilation; each reads the context and adds to it what it makes."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from f2edge.bundle.manifest import GOLDEN, TOKENIZER, Bundle, Recipe, sha256
from f2edge.bundle.user_cache import digest
from f2edge.bundle.verified import TOKENS_DIFFER
from f2edge.calibration.recorder import Recorder, Records
from f2edge.compile.checkpoint.load import check_tokenizer, limit_answers, load_checkpoint
from f2edge.compile.components import describe
from f2edge.compile.export.fixed_shapes import limits_of
from f2edge.compile.export.graphs import export
from f2edge.compile.memory import check_memory
from f2edge.compile.record_golden import check_prompts, make_golden
from f2edge.compile.versions import tool_versions
from f2edge.errors import CompileError, DatasetError
from f2edge.evaluation import ask
from f2edge.model import Florence2
from f2edge.quantize.onnx_files import save_onnx
from f2edge.runtimes import has_device, open_runtime
from f2edge.runtimes.onnxruntime.runtime import load_graphs
from f2edge.tokenizer import Tokenizer
from f2edge.verify import verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.bundle.golden import GoldenCase
    from f2edge.bundle.limits import Limits
    from f2edge.bundle.verified import Verified
    from f2edge.compile.context import BuildContext
    from f2edge.compile.export.graphs import Graph
    from f2edge.engine import Runtime
    from f2edge.evaluation import Sample


def load(context: BuildContext) -> None:
    """Load the checkpoint, and refuse one that no bundle can be made of.

    Raises:
        CheckpointError, LimitError: what is wrong with it, or which limit does not fit it.
        CompileError: it needs more memory than there is.
    """
    options = context.options
    check = partial(check_memory, int8=options.precision == "int8", notice=context.listener.notice)
    checkpoint = load_checkpoint(
        context.source, options.image_size, options.revision, loras=options.lora, check_size=check
    )
    for notice in checkpoint.notices:
        context.listener.notice(notice)
    check_tokenizer(checkpoint)
    if options.graph == "answers":
        check_prompts(checkpoint)
    context.checkpoint = limit_answers(checkpoint, options.max_new_tokens)
    maps = context.maps  # of which there may be none, which is told before any work is done
    if options.target.static and not maps:
        context.fixed_shapes = limits_of(options.num_beams, checkpoint.model.geometry, context.checkpoint.settings)


def export_graph(context: BuildContext, component: str) -> None:
    """Trace one component of the reference model to an ONNX graph."""
    fixed = context.traced_shapes if component != "vision" else None  # the tower's shapes are fixed in every target
    context.exported[component] = export_to_stage(context, component, context.graphs[component], fixed)


def export_to_stage(context: BuildContext, component: str, graph: Graph, shapes: Limits | None) -> Path:
    """Trace a graph, of fixed shapes if there are any, in a stage of the compilation; return its file."""
    inputs = {"weights": context.digest_of_weights, "geometry": context.checkpoint.model.geometry.to_json()}
    inputs["inputs"] = graph.input_names  # a decoder for several questions has one more
    if context.maps:
        inputs["maps"] = asdict(context.maps)
    if shapes:
        inputs["shapes"] = asdict(shapes)
    file = f"{component}.onnx"
    stages = context.workspace.stages
    return stages.run(f"export {component}", inputs, lambda directory: export(graph, directory / file)) / file


def record_golden(context: BuildContext) -> None:
    """Let the reference model answer the golden questions; begin the bundle with that and the tokenizer."""
    checkpoint, directory = context.checkpoint, context.workspace.directory
    cases, arrays = make_golden(checkpoint)
    arrays.save(directory / GOLDEN)
    checkpoint.tokenizer.save(directory / TOKENIZER)
    context.draft = draft_of(context, (TOKENIZER, GOLDEN), cases)


def draft_of(context: BuildContext, files: Sequence[str], cases: tuple[GoldenCase, ...] = ()) -> Bundle:
    """Begin a bundle with files that belong to no component; they are in its directory already."""
    directory = context.workspace.directory
    return Bundle(
        path=directory,
        geometry=context.checkpoint.model.geometry,
        generation=context.checkpoint.settings,
        recipe=_recipe(context),
        components={},
        files={name: sha256(directory / name) for name in files},
        tools=tool_versions(),
        golden=cases,
        backbone=context.maps,
    )


def _recipe(context: BuildContext) -> Recipe:
    """Name the checkpoint without its path: where it lay on the machine that compiled it is nobody's business."""
    path, options = Path(context.source), context.options
    target, precisions = options.target, options.precisions
    name = path.resolve().name if path.is_dir() else str(context.source)
    if options.revision:
        name = f"{name}@{options.revision}"
    calibrated = context.selection is not None if options.precision == "int8" else None
    return Recipe(
        checkpoint=name,
        target=target.name,
        runtime=target.runtime,
        device=target.device,
        precision=precisions,
        static_shapes=context.fixed_shapes,
        calibrated=calibrated,
        adapters=context.checkpoint.adapters,
    )


def record_inputs(context: BuildContext) -> None:
    """Record the inputs of every float graph on the calibration pictures."""
    assert context.selection
    samples, checkpoint = context.selection.samples, context.checkpoint
    geometry = checkpoint.model.geometry

    def make(directory: Path) -> None:
        records = Records(directory, geometry)
        recorder = Recorder(load_graphs(context.exported), checkpoint.tokenizer, checkpoint.settings, records)
        recorder.record(samples, lambda number: context.listener.detail(f"record {number} of {len(samples)}"))

    inputs = {
        "graphs": {name: path.parent.name for name, path in context.exported.items()},
        "tokenizer": hashlib.sha256(checkpoint.tokenizer.to_text().encode()).hexdigest(),
        "settings": asdict(checkpoint.settings),
        "samples": [identity(sample) for sample in samples],
    }
    context.records = Records(context.workspace.stages.run("record", inputs, make, resumes=True), geometry)


def identity(sample: Sample) -> str:
    """Hash the bytes of a picture together with its questions."""
    return digest([sha256(sample.image), sample.size, [asdict(question) for question in sample.questions]])  # type: ignore[arg-type]


def quantize_graph(context: BuildContext, component: str) -> None:
    """Quantize the graph of one component to INT8.

    Raises:
        CompileError: NNCF cannot quantize the graph.
    """
    from f2edge.quantize.ptq import quantize  # noqa: PLC0415 - only INT8 needs nncf
    from f2edge.quantize.tables import share_table  # noqa: PLC0415

    name, source, weights = f"quantize {component}", context.exported[component], context.options.decoder_weights
    decoder = context.quantized["decoder"] if component == "encoder" else None
    records = context.records if context.selection else None

    def make(directory: Path) -> None:
        pieces = directory / "pieces"
        model = quantize(component, source, records, pieces, weights=weights, progress=progress)
        if decoder:
            share_table(model.graph, onnx.load(decoder).graph)
        save_onnx(model, directory / f"{component}.onnx")
        shutil.rmtree(pieces, ignore_errors=True)

    def progress(done: int, count: int) -> None:
        context.listener.detail(f"{name}: {done} of {count} pieces")

    inputs = {
        "graph": source.parent.name,
        "records": records.directory.name if records else None,
        "table": decoder.parent.name if decoder else None,
        "weights": weights,
    }
    context.quantized[component] = context.workspace.stages.run(name, inputs, make, resumes=True) / f"{component}.onnx"


def compile_graph(context: BuildContext, component: str) -> None:
    """Compile the graph of one component for the target."""
    plan = context.plan
    context.files[component] = context.compiler.compile(plan.graphs[component], plan.precisions[component])


def verify_bundle(context: BuildContext) -> None:
    """Replay the golden cases with the compiled graphs on this machine; then write the manifest.

    Raises:
        CompileError: a graph does not compute what the reference model does.
    """
    components = describe(context.plan, context.files)
    draft = replace(context.draft, components=components, quantization=context.quantization)
    tokenizer = Tokenizer.from_file(draft.path / TOKENIZER)
    finish(context, draft, verify(Florence2(draft, _verifying_runtime(draft, context.workspace.scratch), tokenizer)))


def finish(context: BuildContext, draft: Bundle, verified: Verified) -> None:
    """Write the manifest of a bundle that computes what the reference model does.

    Raises:
        CompileError: it does not.
    """
    if not verified.passed:
        wrong = [f"{name} is {c.off_by} (allowed: {c.tolerance:.2g})" for name, c in verified.failed().items()]
        raise CompileError(f"the compiled graphs do not answer as the reference: {', '.join(wrong) or TOKENS_DIFFER}")
    context.draft = replace(draft, verified=verified)
    context.draft.write_manifest()


def calibrate_confidence(context: BuildContext) -> None:
    """Fit the confidences on the calibration pictures, if their questions have true boxes, quads or polygons."""
    from f2edge.calibration.confidence import fit_confidences, with_locations  # noqa: PLC0415 - needs scikit-learn

    assert context.selection
    samples = with_locations(context.selection.samples)
    if not samples:
        return
    draft = context.draft
    runtime = _verifying_runtime(draft, context.workspace.scratch)
    model = Florence2(draft, runtime, Tokenizer.from_file(draft.path / TOKENIZER))
    try:
        run = ask(model, samples, num_beams=1)
        fitted = fit_confidences(run.answers.values())
    except DatasetError as error:
        context.listener.notice(f"confidences stay raw scores: {error}")
    else:
        replace(draft, confidence=fitted).write_manifest()


def _verifying_runtime(draft: Bundle, scratch: Path) -> Runtime:
    """Open the engine of the bundle, on the CPU if its device is not here; for TensorRT ONNX Runtime stands in."""
    if draft.recipe.runtime != "tensorrt":
        here = has_device(draft.recipe.runtime, draft.recipe.device)
        return open_runtime(draft, None if here else "CPU")
    from f2edge.compile.tensorrt.convert import stand_in  # noqa: PLC0415

    return stand_in(draft, scratch)
