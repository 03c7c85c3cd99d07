"""From a checkpoint to a bundle: load, export, quantize, compile, record golden cases, verify, put in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from f2edge.atomic import new_bundle_directory, refuse_occupied
from f2edge.bundle import COMPONENTS, GOLDEN, TOKENIZER, Bundle, Component, Recipe, open_bundle, sha256
from f2edge.compile.checkpoint import load_checkpoint
from f2edge.compile.golden import check_prompts, make_golden
from f2edge.compile.onnx_graph import WeightFile
from f2edge.compile.options import Listener, Options
from f2edge.compile.quantized import export_graphs, quantized_graphs, record, select
from f2edge.compile.stages import open_stages
from f2edge.compile.versions import tool_versions
from f2edge.errors import CheckpointError, CompileError, LimitError
from f2edge.model import Florence2
from f2edge.runtimes import open_runtime
from f2edge.runtimes.profiles import profiles
from f2edge.targets import get_target
from f2edge.tokenizer import Tokenizer
from f2edge.verify import verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from f2edge.calibration.sources import Selection
    from f2edge.compile.checkpoint import Checkpoint
    from f2edge.compile.stages import Stages
    from f2edge.runtime import Runtime
    from f2edge.targets import Precision, Target

STAGES = (
    "load",
    *(f"export {name}" for name in COMPONENTS),
    "golden",
    *(f"compile {name}" for name in COMPONENTS),
    "verify",
)
INT8_STAGES = ("record", *(f"quantize {name}" for name in COMPONENTS))
"""Between the exports and "golden", where INT8 is asked for."""
WEIGHTS = {"openvino": "weights.bin", "onnxruntime": "weights.data", "tensorrt": "weights.data"}
"""The file that holds the constants of all graphs, by runtime."""


def build(
    checkpoint: str | Path,
    destination: Path,
    options: Options,
    *,
    force: bool = False,
    listener: Listener = Listener(),  # noqa: B008 - frozen
) -> Bundle:
    """Compile a checkpoint into a bundle.

    Nothing is left at ``destination`` or beside it where that fails; a process that is killed leaves finished stages
    beside it, and the next one to the same place goes on from there.

    Args:
        checkpoint: a directory or a hub id.
        destination: where the bundle shall be.
        options: target, precision and limits.
        force: replace a bundle that is there.
        listener: told of stages and of what the user should know.

    Raises:
        F2EdgeError: see :mod:`f2edge.errors`; the checkpoint, the place, an option, or a tool that failed.
    """
    get_target(options.target.name)
    options.check()
    refuse_occupied(destination, force=force)
    selection = select(options, listener)
    listener.stage("load")
    loaded = _with_limits(load_checkpoint(checkpoint, options.image_size), options)
    with (
        new_bundle_directory(destination, force=force) as directory,
        open_stages(destination, options.stages, keep=selection is not None, notice=listener.notice) as stages,
        TemporaryDirectory(prefix=".scratch-", dir=directory) as scratch,
    ):
        graphs = _graphs(loaded, selection, options, stages, listener)
        draft = _draft(directory, str(checkpoint), options, loaded, graphs, listener, Path(scratch))
        listener.stage("verify")
        _verified(draft, Path(scratch)).write_manifest()
    return open_bundle(destination, check_hashes=False)


def _graphs(
    loaded: Checkpoint, selection: Selection | None, options: Options, stages: Stages, listener: Listener
) -> dict[str, Path]:
    """The ONNX graphs to compile, by component."""
    exported = export_graphs(loaded, stages, listener)
    if selection is None:
        return exported
    records = record(exported, loaded, selection, stages, listener)
    return quantized_graphs(exported, records, options, stages, listener)


def _with_limits(loaded: Checkpoint, options: Options) -> Checkpoint:
    geometry = loaded.model.geometry
    if loaded.tokenizer.vocab_size > geometry.vocab_size:
        raise CheckpointError(
            f"tokenizer.json has {loaded.tokenizer.vocab_size} tokens, the model only {geometry.vocab_size}; "
            "they do not belong together"
        )
    check_prompts(loaded)
    tokens, limit = options.max_new_tokens, geometry.decoder_positions
    if tokens is None:
        return loaded
    if not 1 <= tokens <= limit:
        raise LimitError(f"--max-new-tokens {tokens}: this checkpoint takes 1 to {limit}")
    return replace(loaded, settings=replace(loaded.settings, max_new_tokens=tokens))


def _draft(
    directory: Path,
    checkpoint: str,
    options: Options,
    loaded: Checkpoint,
    graphs: Mapping[str, Path],
    listener: Listener,
    scratch: Path,
) -> Bundle:
    """Everything but the manifest, in ``directory``."""
    listener.stage("golden")
    cases, arrays = make_golden(loaded)
    arrays.save(directory / GOLDEN)
    loaded.tokenizer.save(directory / TOKENIZER)
    return Bundle(
        path=directory,
        geometry=loaded.model.geometry,
        generation=loaded.settings,
        recipe=_recipe(checkpoint, options.target, options.wanted),
        components=_components(directory, options, graphs, loaded, listener, scratch),
        files={name: sha256(directory / name) for name in (TOKENIZER, GOLDEN)},
        tools=tool_versions(),
        golden=cases,
    )


def _components(
    directory: Path,
    options: Options,
    graphs: Mapping[str, Path],
    loaded: Checkpoint,
    listener: Listener,
    scratch: Path,
) -> dict[str, Component]:
    weights = WeightFile(directory / WEIGHTS[options.target.runtime])
    files = {}
    for name in COMPONENTS:
        listener.stage(f"compile {name}")
        files[name] = _compile(graphs[name], directory, weights, options, loaded, scratch)
    hashes = {file: sha256(file) for paths in files.values() for file in paths}
    return {
        name: Component(name, paths[0].name, options.wanted, {path.name: hashes[path] for path in paths})
        for name, paths in files.items()
    }


def _compile(
    source: Path, directory: Path, weights: WeightFile, options: Options, loaded: Checkpoint, scratch: Path
) -> list[Path]:
    geometry = loaded.model.geometry
    if options.target.runtime == "tensorrt":
        from f2edge.compile.tensorrt import compile_tensorrt  # noqa: PLC0415 - each target needs its own tool only

        return compile_tensorrt(
            source,
            directory,
            weights,
            scratch,
            target=options.target.name,
            precision=options.wanted,
            profile=profiles(geometry, loaded.settings)[source.stem],
            compute_capabilities=options.compute_capabilities,
        )
    fp16 = options.wanted != "fp32"  # what INT8 leaves float is stored in half precision
    if options.target.runtime == "onnxruntime":
        from f2edge.compile.onnx_graph import compile_onnx  # noqa: PLC0415

        return compile_onnx(source, directory / f"{source.stem}.onnx", weights, fp16=fp16)
    from f2edge.compile.openvino import compile_openvino  # noqa: PLC0415

    xml = directory / f"{source.stem}.xml"
    return compile_openvino(source, xml, weights, decoder_layers=geometry.decoder_layers, fp16=fp16)


def _recipe(checkpoint: str, target: Target, precision: Precision) -> Recipe:
    """The checkpoint by its name alone: where it lay on the machine that compiled it is nobody's business."""
    name = checkpoint if not Path(checkpoint).is_dir() else Path(checkpoint).resolve().name
    return Recipe(name, target.name, target.runtime, target.device, dict.fromkeys(COMPONENTS, precision))


def _verified(draft: Bundle, scratch: Path) -> Bundle:
    """The draft with what replaying its golden cases on this machine gave.

    Raises:
        CompileError: a graph does not compute what the reference does.
    """
    tokenizer = Tokenizer.from_file(draft.path / TOKENIZER)
    report = verify(Florence2(draft, _verifying_runtime(draft, scratch), tokenizer))
    if not report.passed:
        wrong = [
            f"{c.component} is off by {c.relative_error:.2g} (allowed: {c.tolerance:.2g})"
            for c in report.checks
            if not c.passed
        ]
        raise CompileError(f"the compiled graphs do not answer as the reference: {', '.join(wrong) or 'tokens differ'}")
    return replace(draft, verified=report.to_json())


def _verifying_runtime(draft: Bundle, scratch: Path) -> Runtime:
    """The bundle's own engine; for TensorRT, which needs a GPU, another one over the same graphs."""
    if draft.recipe.runtime != "tensorrt":
        return open_runtime(draft)
    from f2edge.compile.tensorrt import stand_in  # noqa: PLC0415

    return stand_in(draft, scratch)
