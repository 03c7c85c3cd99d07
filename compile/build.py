"""From a checkpoint to a bundle: load, export, quantize, compile, record golden cases, verify, put in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from f2edge.bundle.manifest import COMPONENTS, GOLDEN, TOKENIZER, Bundle, Recipe, open_bundle, sha256
from f2edge.bundle.writing import new_bundle_directory, refuse_occupied
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.components import Plan, compile_components
from f2edge.compile.export.fixed_shapes import shapes_for
from f2edge.compile.mixed_precision import Workshop, chosen_of, to_manifest
from f2edge.compile.options import Listener, Options
from f2edge.compile.quantized import export_graphs, quantized_graphs, record, select
from f2edge.compile.record_golden import check_prompts, make_golden
from f2edge.compile.stages import open_stages
from f2edge.compile.versions import tool_versions
from f2edge.errors import CheckpointError, CompileError, LimitError
from f2edge.model import Florence2
from f2edge.quantize.mixed_graphs import Variants
from f2edge.runtimes import has_device, open_runtime
from f2edge.targets import get_target
from f2edge.tokenizer import Tokenizer
from f2edge.verify import verify

if TYPE_CHECKING:
    from f2edge.bundle.limits import Limits
    from f2edge.calibration.sources import Selection
    from f2edge.compile.checkpoint.load import Checkpoint
    from f2edge.compile.stages import Stages
    from f2edge.engine import Runtime
    from f2edge.targets import Compute

STAGES = (
    "load",
    *(f"export {name}" for name in COMPONENTS),
    "golden",
    *(f"compile {name}" for name in COMPONENTS),
    "verify",
)
INT8_COMPUTE: dict[str, Compute] = dict.fromkeys(COMPONENTS, "bf16")
"""Of what INT8 leaves float: bf16 adds less noise than INT8 does (docs/demo.md)."""


def stages_of(options: Options) -> tuple[str, ...]:
    """The names of all stages that a build with these options goes through."""
    between = ("record", *(f"quantize {name}" for name in COMPONENTS)) if options.precision == "int8" else ()
    between += ("measure blocks",) if options.report or options.budget is not None else ()
    between += ("search",) if options.budget is not None else ()
    golden = STAGES.index("golden") + 1
    return STAGES[:golden] + between + STAGES[golden:]


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
    shapes = shapes_for(options, loaded)
    with (
        new_bundle_directory(destination, force=force) as directory,
        open_stages(destination, options.stages, keep=selection is not None, notice=listener.notice) as stages,
        TemporaryDirectory(prefix=".scratch-", dir=directory) as scratch,
    ):
        exported = export_graphs(loaded, stages, listener, shapes)
        draft = _draft(directory, _recipe(str(checkpoint), options, shapes), loaded, listener)
        plan = Plan(exported, options.precisions, dict.fromkeys(COMPONENTS, "fp32"), {})
        if selection:
            plan = _quantized(draft, exported, loaded, selection, options, stages, Path(scratch), listener)
        draft = _with_components(draft, plan, options, loaded, Path(scratch), listener)
        listener.stage("verify")
        _verified(draft, Path(scratch)).write_manifest()
    return open_bundle(destination, check_hashes=False)


def _quantized(
    draft: Bundle,
    exported: dict[str, Path],
    loaded: Checkpoint,
    selection: Selection,
    options: Options,
    stages: Stages,
    scratch: Path,
    listener: Listener,
) -> Plan:
    """All blocks in INT8, or the mix that was found under the budget."""
    records = record(exported, loaded, selection, stages, listener)
    quantized = quantized_graphs(exported, records, options, stages, listener)
    everything = Plan(quantized, options.precisions, INT8_COMPUTE, {})
    if options.budget is None and not options.report:
        return everything
    variants = Variants(exported, quantized, scratch / "variants")
    shop = Workshop(draft, loaded, variants, records, selection.samples, options, stages, listener)
    return _measured(shop, everything)


def _measured(shop: Workshop, everything: Plan) -> Plan:
    options = shop.options
    shop.listener.stage("measure blocks")
    blocks = shop.blocks(with_losses=options.report)
    if options.budget is None:
        return replace(everything, quantization=to_manifest(blocks, [], None))
    shop.listener.stage("search")
    measured = shop.search(blocks, options.budget)
    return shop.plan(chosen_of(measured).mix, to_manifest(blocks, measured, options.budget))


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


def _draft(directory: Path, recipe: Recipe, loaded: Checkpoint, listener: Listener) -> Bundle:
    """Everything but the graphs and the manifest, in ``directory``."""
    listener.stage("golden")
    cases, arrays = make_golden(loaded)
    arrays.save(directory / GOLDEN)
    loaded.tokenizer.save(directory / TOKENIZER)
    return Bundle(
        path=directory,
        geometry=loaded.model.geometry,
        generation=loaded.settings,
        recipe=recipe,
        components={},
        files={name: sha256(directory / name) for name in (TOKENIZER, GOLDEN)},
        tools=tool_versions(),
        golden=cases,
    )


def _with_components(
    draft: Bundle, plan: Plan, options: Options, loaded: Checkpoint, scratch: Path, listener: Listener
) -> Bundle:
    components = compile_components(draft.path, plan, options, loaded, scratch, listener)
    recipe = replace(draft.recipe, precision=plan.precisions)
    return replace(draft, recipe=recipe, components=components, quantization=dict(plan.quantization))


def _recipe(checkpoint: str, options: Options, shapes: Limits | None) -> Recipe:
    """The checkpoint by its name alone: where it lay on the machine that compiled it is nobody's business."""
    name = checkpoint if not Path(checkpoint).is_dir() else Path(checkpoint).resolve().name
    target = options.target
    return Recipe(name, target.name, target.runtime, target.device, options.precisions, shapes)


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
    """The bundle's engine, on the CPU where its device is not here; for TensorRT another one over the same graphs."""
    if draft.recipe.runtime != "tensorrt":
        here = has_device(draft.recipe.runtime, draft.recipe.device)
        return open_runtime(draft, None if here else "CPU")
    from f2edge.compile.tensorrt.convert import stand_in  # noqa: PLC0415

    return stand_in(draft, scratch)
