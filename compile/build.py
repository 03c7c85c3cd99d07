"""From a checkpoint to a bundle: load, export, compile, record golden cases, verify, put in place."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from f2edge.atomic import new_bundle_directory, refuse_occupied
from f2edge.bundle import COMPONENTS, GOLDEN, TOKENIZER, Bundle, Component, Recipe, open_bundle, sha256
from f2edge.calibration.pictures import select_pictures
from f2edge.compile.checkpoint import load_checkpoint
from f2edge.compile.export import export, graphs
from f2edge.compile.golden import check_prompts, make_golden
from f2edge.errors import CheckpointError, CompileError, LimitError
from f2edge.model import Florence2
from f2edge.runtimes import open_runtime
from f2edge.targets import get_target
from f2edge.tokenizer import Tokenizer
from f2edge.verify import verify

if TYPE_CHECKING:
    from f2edge.compile.checkpoint import Checkpoint
    from f2edge.targets import Precision, Target

Progress: TypeAlias = Callable[[str], None]
"""Called with the name of each stage as it begins."""

Notice: TypeAlias = Callable[[str], None]
"""Called with one line for the user."""

CALIBRATION_SAMPLES = 128
STAGES = (
    "load",
    *(f"export {name}" for name in COMPONENTS),
    "golden",
    *(f"compile {name}" for name in COMPONENTS),
    "verify",
)
INT8_STAGES = ("record", *(f"quantize {name}" for name in COMPONENTS))
"""Between "golden" and the compilers, where INT8 is asked for."""
_TOOLS = ("f2edge", "torch", "onnx", "nncf", "onnxscript", "openvino", "onnxruntime", "numpy", "tokenizers")


@dataclass(frozen=True)
class Options:
    """What ``f2edge compile`` was asked for.

    Args:
        target: a row of :data:`f2edge.targets.TARGETS`.
        precision: of every component; by default the target's.
        image_size: side of the square input in pixels; by default the checkpoint's.
        max_new_tokens: longest answer the bundle gives unless asked otherwise; by default the checkpoint's limit.
        calibration: directory with pictures to calibrate INT8 on.
        samples: how many of them to take.
    """

    target: Target
    precision: Precision | None = None
    image_size: int | None = None
    max_new_tokens: int | None = None
    calibration: Path | None = None
    samples: int = CALIBRATION_SAMPLES


def build(
    checkpoint: str | Path,
    destination: Path,
    options: Options,
    *,
    force: bool = False,
    progress: Progress = lambda _stage: None,
    notice: Notice = lambda _text: None,
) -> Bundle:
    """Compile a checkpoint into a bundle.  Nothing is left at ``destination`` or beside it where that fails.

    Args:
        checkpoint: a directory or a hub id.
        destination: where the bundle shall be.
        options: target, precision and limits.
        force: replace a bundle that is there.
        progress: told of each stage.
        notice: told what the user should know, though it is no error.

    Raises:
        F2EdgeError: see :mod:`f2edge.errors`; the checkpoint, the place, an option, or a tool that failed.
    """
    get_target(options.target.name)
    _check_calibration(options)
    refuse_occupied(destination, force=force)
    pictures = _pictures(options, notice)
    progress("load")
    loaded = _with_limits(load_checkpoint(checkpoint, options.image_size), options)
    with new_bundle_directory(destination, force=force) as directory:
        draft = _draft(directory, str(checkpoint), options, loaded, pictures, progress)
        progress("verify")
        _verified(draft).write_manifest()
    return open_bundle(destination, check_hashes=False)


def _check_calibration(options: Options) -> None:
    if (options.precision == "int8") == (options.calibration is None):
        raise CompileError(
            "precision int8 needs pictures to calibrate on; give --calibration DIR"
            if options.precision == "int8"
            else "--calibration goes with --precision int8"
        )


def _pictures(options: Options, notice: Notice) -> tuple[Path, ...]:
    """What to calibrate on; nothing unless INT8 is asked for."""
    if options.calibration is None:
        return ()
    selection = select_pictures(options.calibration, options.samples)
    if selection.unreadable:
        names = ", ".join(path.name for path in selection.unreadable)
        notice(f"{len(selection.unreadable)} pictures cannot be read and were left out: {names}")
    if len(selection.pictures) < options.samples:
        notice(f"calibrating on {len(selection.pictures)} pictures; {options.samples} would be better")
    return selection.pictures


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
    pictures: Sequence[Path],
    progress: Progress,
) -> Bundle:
    """Everything but the manifest, in ``directory``."""
    precision = options.precision or options.target.precision
    with tempfile.TemporaryDirectory(prefix=".onnx-", dir=directory) as scratch:
        for name, graph in graphs(loaded.model).items():
            progress(f"export {name}")
            export(graph, Path(scratch) / f"{name}.onnx")
        progress("golden")
        cases, arrays = make_golden(loaded)
        arrays.save(directory / GOLDEN)
        sources = _sources(Path(scratch), loaded, pictures, progress)
        components = {}
        for name in COMPONENTS:
            progress(f"compile {name}")
            files = _compile(sources[name], directory, options.target, precision, loaded.model.geometry.decoder_layers)
            hashes = {file.name: sha256(file) for file in files}
            components[name] = Component(name, files[0].name, precision, hashes)
    loaded.tokenizer.save(directory / TOKENIZER)
    return Bundle(
        path=directory,
        geometry=loaded.model.geometry,
        generation=loaded.settings,
        recipe=_recipe(checkpoint, options.target, precision),
        components=components,
        files={name: sha256(directory / name) for name in (TOKENIZER, GOLDEN)},
        tools=_tool_versions(),
        golden=cases,
    )


def _sources(scratch: Path, loaded: Checkpoint, pictures: Sequence[Path], progress: Progress) -> dict[str, Path]:
    """The graphs to compile: as exported, or quantized from what the pictures made flow through them."""
    exported = {name: scratch / f"{name}.onnx" for name in COMPONENTS}
    if not pictures:
        return exported
    from f2edge.compile.quantized import quantized_graphs  # noqa: PLC0415 - only INT8 needs nncf

    return quantized_graphs(exported, pictures, loaded, progress)


def _compile(source: Path, directory: Path, target: Target, precision: Precision, decoder_layers: int) -> list[Path]:
    fp16 = precision != "fp32"  # what INT8 leaves float is stored in half precision
    if target.runtime == "onnxruntime":
        from f2edge.compile.onnx_graph import compile_onnx  # noqa: PLC0415 - each target needs its own tool only

        return compile_onnx(source, directory / f"{source.stem}.onnx", fp16=fp16)
    from f2edge.compile.openvino import compile_openvino  # noqa: PLC0415

    return compile_openvino(source, directory / f"{source.stem}.xml", decoder_layers=decoder_layers, fp16=fp16)


def _recipe(checkpoint: str, target: Target, precision: Precision) -> Recipe:
    """The checkpoint by its name alone: where it lay on the machine that compiled it is nobody's business."""
    name = checkpoint if not Path(checkpoint).is_dir() else Path(checkpoint).resolve().name
    return Recipe(name, target.name, target.runtime, target.device, dict.fromkeys(COMPONENTS, precision))


def _verified(draft: Bundle) -> Bundle:
    """The draft with what replaying its golden cases on this machine gave.

    Raises:
        CompileError: a graph does not compute what the reference does.
    """
    tokenizer = Tokenizer.from_file(draft.path / TOKENIZER)
    report = verify(Florence2(draft, open_runtime(draft), tokenizer))
    if not report.passed:
        wrong = [
            f"{c.component} is off by {c.relative_error:.2g} (allowed: {c.tolerance:.2g})"
            for c in report.checks
            if not c.passed
        ]
        raise CompileError(f"the compiled graphs do not answer as the reference: {', '.join(wrong) or 'tokens differ'}")
    return replace(draft, verified=report.to_json())


def _tool_versions() -> dict[str, str]:
    versions = {}
    for tool in _TOOLS:
        try:
            versions[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return versions
