"""Compile a checkpoint into a bundle: the list of steps, and the order they are taken in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from f2edge.bundle.manifest import BACKBONE, COMPONENTS, Bundle, open_bundle
from f2edge.bundle.writing import new_bundle_directory, refuse_occupied
from f2edge.calibration.sources import select_samples
from f2edge.compile.backbone import record_maps, record_pixels, verify_backbone
from f2edge.compile.context import BuildContext, Workspace
from f2edge.compile.fixed_shapes import fix_decoder, fix_encoder
from f2edge.compile.mixed_precision import measure_blocks, search_mix
from f2edge.compile.options import Listener, Options
from f2edge.compile.reference.threads import within_quota
from f2edge.compile.space import check_room
from f2edge.compile.stages import open_stages
from f2edge.compile.steps import (
    calibrate_confidence,
    compile_graph,
    export_graph,
    load,
    quantize_graph,
    record_golden,
    record_inputs,
    verify_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from f2edge.calibration.sources import Selection

_QUANTIZATION_ORDER = ("decoder", "vision", "encoder")
"""The encoder comes after the decoder, whose table it looks prompts up in."""


@dataclass(frozen=True)
class Step:
    """One step of a compilation.

    Args:
        name: what the listener is told, and a progress bar shows.
        run: takes the step.
    """

    name: str
    run: Callable[[BuildContext], None]


def steps_of(options: Options) -> list[Step]:
    """List all steps of a compilation with these options, in their order."""
    if options.graph == "backbone":
        return _steps_of_backbone(options)
    steps = [Step("load", load), *_of_each("export", export_graph, COMPONENTS), Step("golden", record_golden)]
    if options.precision == "int8":
        steps += [Step("record", record_inputs)] if options.calibration else []
        steps += [Step("fix decoder", fix_decoder)] if options.target.static else []
        steps += _of_each("quantize", quantize_graph, _QUANTIZATION_ORDER)
        steps += [Step("fix encoder", fix_encoder)] if options.target.static else []
    if options.report or options.budget is not None:
        steps.append(Step("measure blocks", measure_blocks))
    if options.budget is not None:
        steps.append(Step("search", search_mix))
    steps += [*_of_each("compile", compile_graph, COMPONENTS), Step("verify", verify_bundle)]
    return [*steps, Step("confidence", calibrate_confidence)] if options.calibration else steps


def _steps_of_backbone(options: Options) -> list[Step]:
    steps = [Step("load", load), *_of_each("export", export_graph, [BACKBONE]), Step("golden", record_maps)]
    if options.precision == "int8":
        steps += [Step("record", record_pixels)] if options.calibration else []
        steps += _of_each("quantize", quantize_graph, [BACKBONE])
    return [*steps, *_of_each("compile", compile_graph, [BACKBONE]), Step("verify", verify_backbone)]


def _of_each(verb: str, run: Callable[[BuildContext, str], None], components: Iterable[str]) -> list[Step]:
    return [Step(f"{verb} {component}", partial(_with, component, run)) for component in components]


def _with(component: str, run: Callable[[BuildContext, str], None], context: BuildContext) -> None:
    run(context, component)


def build(
    checkpoint: str | Path,
    destination: Path,
    options: Options,
    *,
    force: bool = False,
    listener: Listener = Listener(),  # noqa: B008 - frozen
) -> Bundle:
    """Compile a checkpoint into a bundle.

    If it fails, it leaves nothing at ``destination`` or beside it.  A process that is killed leaves its finished
    stages beside ``destination``, and the next compilation to the same place goes on from there.

    Args:
        checkpoint: a directory or a hub id.
        destination: the directory of the new bundle.
        options: target, precision and limits.
        force: replace a bundle that is there.
        listener: is told of each step and of what the user should know.

    Raises:
        F2EdgeError: see :mod:`f2edge.errors`; the checkpoint, the place or an option is wrong, or a tool failed.
    """
    options.check()
    refuse_occupied(destination, force=force)
    selection = _select(options, listener)
    context = BuildContext(checkpoint, options, selection, listener)
    loading, *others = steps_of(options)
    _take([loading], context)
    check_room(context, options.stages or destination.parent)
    with (
        new_bundle_directory(destination, force=force) as directory,
        open_stages(destination, options.stages, keep=selection is not None, notice=listener.notice) as stages,
        TemporaryDirectory(prefix=".scratch-", dir=directory) as scratch,
    ):
        context.workspace = Workspace(directory, stages, Path(scratch))
        _take(others, context)
    return open_bundle(destination, check_hashes=False)


@within_quota()
def _take(steps: Iterable[Step], context: BuildContext) -> None:
    for step in steps:
        context.listener.stage(step.name)
        step.run(context)


def _select(options: Options, listener: Listener) -> Selection | None:
    """Choose the pictures to calibrate on, and say what is wrong with them, or that INT8 is slower without.

    Raises:
        InputError, DatasetError: there is nothing to calibrate on.
    """
    if options.calibration is None:
        if options.precision == "int8":
            listener.notice("INT8 without calibration pictures; with `calibration` it gets faster")
        return None
    selection = select_samples(options.calibration, options.samples)
    for line in selection.left_out:
        listener.notice(f"calibration: {line}")
    if len(selection.samples) < options.samples:
        listener.notice(f"calibrating on {len(selection.samples)} pictures; {options.samples} would be better")
    return selection
