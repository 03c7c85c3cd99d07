"""Measure INT8 block by block, and choose the fastest mix within a budget, on the machine that compiles."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import onnx

from f2edge.bundle.manifest import COMPONENTS
from f2edge.bundle.quantization import Block, MeasuredMix, Quantization
from f2edge.compile.components import ComponentCompiler, Plan, describe
from f2edge.errors import CompileError
from f2edge.machine import fingerprint
from f2edge.model import Florence2
from f2edge.quantize.blocks import multiplications
from f2edge.quantize.losses import Losses, with_truth
from f2edge.quantize.mixed_graphs import Variants, milliseconds
from f2edge.quantize.noise import Probe
from f2edge.quantize.onnx_files import shape_of
from f2edge.quantize.pieces import infer_types
from f2edge.quantize.search import Measured, Mix, choose, mixes
from f2edge.runtimes import devices, has_device, open_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from f2edge.calibration.recorder import Inputs
    from f2edge.compile.context import BuildContext
    from f2edge.engine import Runtime
    from f2edge.evaluation import Sample
    from f2edge.targets import Compute, Precision

PROBED_QUESTIONS = 8
"""Questions by which the noise of one block is measured."""
REPORTED_PICTURES = 32
"""Pictures by which the effect of one block on the task metrics is measured."""


def measure_blocks(context: BuildContext) -> None:
    """Measure what each block costs in INT8: its noise, and its effect on the task metrics if a report is asked for."""
    context.blocks = MixedPrecision(context).blocks(with_losses=context.options.report)
    context.quantization = to_manifest(context.blocks, [], None)


def search_mix(context: BuildContext) -> None:
    """Choose the fastest mix of INT8 and float blocks whose loss is within the budget.

    Raises:
        CompileError: the device of the target is not here, so no mix can be timed.
    """
    budget = context.options.budget
    assert budget is not None
    mixed = MixedPrecision(context)
    measured = mixed.search(context.blocks, budget)
    context.chosen = mixed.plan(chosen_of(measured).mix)
    context.quantization = to_manifest(context.blocks, measured, budget)


class MixedPrecision:
    """Measures graphs with some blocks in INT8 and the others float, on the machine that compiles.

    Args:
        context: the compilation; it must have the float graphs, the INT8 graphs and the records.
    """

    def __init__(self, context: BuildContext) -> None:
        self._context = context
        self._variants = Variants(context.exported, context.quantized, context.workspace.scratch / "variants")

    def blocks(self, *, with_losses: bool) -> list[Block]:
        """Measure every block alone in INT8: its share of the work, its noise, and what it costs the task metrics."""

        def measure() -> list[dict[str, Any]]:
            return [asdict(block) for block in self._measured_blocks(with_losses=with_losses)]

        return [Block(**block) for block in self._kept("measure blocks", {"losses": with_losses}, measure)]

    def _measured_blocks(self, *, with_losses: bool) -> Iterator[Block]:
        context, variants = self._context, self._variants
        every = [(c, name) for c in COMPONENTS for name in variants.blocks(c)]
        probe = Probe(variants.runtime(()), context.records, context.checkpoint.settings, PROBED_QUESTIONS)
        work = self._operations()
        total = sum(sum(blocks.values()) for blocks in work.values())
        losses = self._losses(self._samples[:REPORTED_PICTURES]) if with_losses else None
        for number, (component, name) in enumerate(every, start=1):
            context.listener.detail(f"block {number} of {len(every)}")
            runtime = variants.runtime([(component, name)])
            noise = probe.noise(runtime)
            loss = losses.of(self._model(runtime)) if losses else None
            share = work[component].get(name, 0) / total
            yield Block(component, name, share, noise.sqnr_db(component), noise.divergence, loss)

    def plan(self, mix: Mix) -> Plan:
        """Return the graphs, precisions and types of a bundle with this mix."""
        quantized = {component for component, _ in mix.quantized}
        precisions: dict[str, Precision] = {c: "int8" if c in quantized else "fp16" for c in COMPONENTS}
        compute: dict[str, Compute] = dict.fromkeys(COMPONENTS, mix.compute)
        return Plan(self._variants.graphs(mix.quantized), precisions, compute)

    def search(self, blocks: list[Block], budget: float) -> list[Measured]:
        """Measure mixes until the fastest within the budget is known; see :func:`f2edge.quantize.search.choose`."""
        target = self._context.options.target
        if not has_device(target.runtime, target.device):
            raise CompileError(f"precision auto measures on the device, and there is no {target.device} here")
        losses = cache(lambda: self._losses(self._samples))

        def measure(quantity: str, mix: Mix, of: Callable[[Florence2], float]) -> float:
            share = f"{len(mix.quantized)} of {len(blocks)} blocks in INT8"
            self._context.listener.detail(f"{quantity} with {share}, {mix.compute}")
            return self._of_mix(quantity, mix, of)

        def loss(mix: Mix) -> float:
            return measure("loss", mix, lambda model: losses().of(model))

        def time(mix: Mix) -> float:
            return measure("time", mix, lambda model: milliseconds(model.runtime, self._context.records))

        return choose(mixes(blocks, self._computes()), time, loss, budget)

    def _of_mix(self, name: str, mix: Mix, measure: Callable[[Florence2], float]) -> float:
        """Measure a mix on this machine; a search with another budget takes the same figure from the stages."""

        def compiled() -> float:
            with self._compiled(mix) as model:
                return measure(model)

        inputs = {"blocks": sorted(mix.quantized), "compute": mix.compute, "machine": fingerprint()}
        return float(self._kept(name, inputs, compiled))

    @contextmanager
    def _compiled(self, mix: Mix) -> Iterator[Florence2]:
        """Compile a mix for the target, into a directory that goes with the block."""
        context, directory = self._context, self._variants.directory / "candidate"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        try:
            compiler = ComponentCompiler(directory, self._variants.directory, context.options, context.checkpoint)
            plan = self.plan(mix)
            files = {c: compiler.compile(plan.graphs[c], plan.precisions[c]) for c in COMPONENTS}
            bundle = replace(context.draft, path=directory, components=describe(plan, files))
            yield Florence2(bundle, open_runtime(bundle), context.checkpoint.tokenizer)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _kept(self, name: str, inputs: dict[str, Any], measure: Callable[[], Any]) -> Any:
        """Return the JSON value that ``measure`` gives, or gave in an earlier compilation."""

        def make(directory: Path) -> None:
            (directory / "value.json").write_text(json.dumps(measure()))

        context = self._context
        graphs = {name: path.parent.name for name, path in context.quantized.items()}
        inputs = inputs | {"graphs": graphs, "target": context.options.target.name}
        return json.loads((context.workspace.stages.run(name, inputs, make) / "value.json").read_text())

    @property
    def _samples(self) -> tuple[Sample, ...]:
        assert self._context.selection
        return self._context.selection.samples

    def _computes(self) -> list[Compute]:
        """Return the types that float operations can run in on this processor."""
        runtime = self._context.options.target.runtime
        capabilities = {c for d in devices() if d.runtime == runtime for c in d.capabilities}
        return ["fp32", "bf16"] if runtime == "openvino" and "BF16" in capabilities else ["fp32"]

    def _losses(self, samples: tuple[Sample, ...]) -> Losses:
        model = self._model(self._variants.runtime(()))
        return Losses(model, with_truth(model, samples))

    def _model(self, runtime: Runtime) -> Florence2:
        return Florence2(self._context.draft, runtime, self._context.checkpoint.tokenizer)

    def _operations(self) -> dict[str, dict[str, int]]:
        """Count the multiply-accumulates of each block, by component."""
        operations, records = {}, self._context.records
        for name in COMPONENTS:
            model = onnx.load(self._context.exported[name], load_external_data=False)
            sample = records.load(records.samples(name)[0])
            operations[name] = multiplications(model, shapes_of(model, sample))
        return operations


def shapes_of(model: onnx.ModelProto, inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a graph for these ``inputs``; 0 stands for a size that cannot be inferred."""
    return {name: shape_of(value) for name, value in infer_types(model, inputs).items()}


def to_manifest(blocks: list[Block], measured: list[Measured], budget: float | None) -> Quantization:
    """Return what was measured, and the choice."""
    if budget is None:
        return Quantization(tuple(blocks))
    chosen = chosen_of(measured)
    rows = (
        MeasuredMix(
            int8_blocks=len(one.mix.quantized),
            compute=one.mix.compute,
            milliseconds=round(one.milliseconds, 2),
            loss=one.loss,
            chosen=one is chosen,
        )
        for one in measured
    )
    return Quantization(tuple(blocks), budget, tuple(rows), tuple(sorted(chosen.mix.quantized)))


def chosen_of(measured: list[Measured]) -> Measured:
    """Return the chosen mix: the last whose loss was measured."""
    return [one for one in measured if one.loss is not None][-1]
