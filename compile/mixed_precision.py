"""INT8 block by block: what each costs, and the fastest mix under a budget, measured on the machine that compiles."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import onnx

from f2edge.bundle.manifest import COMPONENTS
from f2edge.compile.components import Plan, compile_components
from f2edge.compile.options import Listener
from f2edge.errors import CompileError
from f2edge.machine import fingerprint
from f2edge.model import Florence2
from f2edge.quantize.blocks import multiplications
from f2edge.quantize.losses import Losses, with_truth
from f2edge.quantize.mixed_graphs import Variants, milliseconds
from f2edge.quantize.noise import Probe
from f2edge.quantize.search import Block, Measured, Mix, choose, mixes
from f2edge.runtimes import devices, has_device, open_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.calibration.recorder import Inputs, Records
    from f2edge.compile.checkpoint.load import Checkpoint
    from f2edge.compile.options import Options
    from f2edge.compile.stages import Stages
    from f2edge.evaluation import Sample
    from f2edge.targets import Compute, Precision

PROBES = 8
"""Questions by which the noise of one block is measured."""
REPORTED = 32
"""Pictures by which its effect on the task metrics is."""


@dataclass
class Workshop:
    """Everything that is measured on.

    Args:
        draft: the bundle that is being made, without components.
        loaded: the checkpoint.
        variants: graphs with any blocks in INT8.
        records: what was recorded.
        samples: the calibration pictures.
        options: of the build.
        stages: where losses that were measured are kept.
        listener: told how far it is.
    """

    draft: Bundle
    loaded: Checkpoint
    variants: Variants
    records: Records
    samples: tuple[Sample, ...]
    options: Options
    stages: Stages
    listener: Listener

    def blocks(self, *, with_losses: bool) -> list[Block]:
        """Every block alone in INT8: its share of the work, its noise, and what it costs the task metrics."""

        def measure() -> list[dict[str, Any]]:
            return [asdict(block) for block in self._measured_blocks(with_losses=with_losses)]

        found = self._kept("measure blocks", {"losses": with_losses}, measure)
        return [Block(**block) for block in found]

    def _measured_blocks(self, *, with_losses: bool) -> Iterator[Block]:
        every = [(c, name) for c in COMPONENTS for name in self.variants.blocks(c)]
        probe = Probe(self.variants.runtime(()), self.records, self.loaded.settings, PROBES)
        work = self._operations()
        losses = self._losses(self.samples[:REPORTED]) if with_losses else None
        for number, (component, name) in enumerate(every, start=1):
            self.listener.detail(f"block {number} of {len(every)}")
            runtime = self.variants.runtime([(component, name)])
            noise = probe.noise(runtime)
            loss = losses.of(self._model(runtime)) if losses else None
            share = work[component].get(name, 0) / sum(sum(blocks.values()) for blocks in work.values())
            yield Block(component, name, share, noise.sqnr_db(component), noise.divergence, loss)

    def plan(self, mix: Mix, choice: Mapping[str, Any]) -> Plan:
        """What a bundle with this mix is made of."""
        quantized = {component for component, _ in mix.quantized}
        precisions: dict[str, Precision] = {c: "int8" if c in quantized else "fp16" for c in COMPONENTS}
        compute: dict[str, Compute] = dict.fromkeys(COMPONENTS, mix.compute)  # type: ignore[arg-type]
        return Plan(self.variants.graphs(mix.quantized), precisions, compute, choice)

    def search(self, blocks: list[Block], budget: float) -> list[Measured]:
        """See :func:`f2edge.quantize.search.choose`."""
        if not has_device(self.options.target.runtime, self.options.target.device):
            raise CompileError(f"--precision auto measures on the device, and there is no {self.options.target.device}")
        truth = cache(lambda: self._losses(self.samples))

        def loss(mix: Mix) -> float:
            self.listener.detail(f"loss with {len(mix.quantized)} of {len(blocks)} blocks in INT8, {mix.compute}")
            return self._of_mix("loss", mix, lambda model: truth().of(model))

        def time(mix: Mix) -> float:
            self.listener.detail(f"time with {len(mix.quantized)} of {len(blocks)} blocks in INT8, {mix.compute}")
            return self._of_mix("time", mix, lambda model: milliseconds(model.runtime, self.records))

        return choose(mixes(blocks, self._computes()), time, loss, budget)

    def _of_mix(self, name: str, mix: Mix, measure: Callable[[Florence2], float]) -> float:
        """What was measured of a mix on this machine; another budget finds the same figure among the stages."""

        def compiled() -> float:
            with _Compiled(self, mix) as model:
                return measure(model)

        inputs = {"blocks": sorted(mix.quantized), "compute": mix.compute, "machine": fingerprint()}
        return float(self._kept(name, inputs, compiled))

    def _kept(self, name: str, inputs: dict[str, Any], measure: Callable[[], Any]) -> Any:
        """A JSON value that ``measure`` gives, or has given before."""

        def make(directory: Path) -> None:
            (directory / "value.json").write_text(json.dumps(measure()))

        graphs = {name: path.parent.name for name, path in self.variants.quantized.items()}
        inputs = inputs | {"graphs": graphs, "target": self.options.target.name}
        return json.loads((self.stages.run(name, inputs, make) / "value.json").read_text())

    def _computes(self) -> list[str]:
        """What the processor has for float operations."""
        found = {c for d in devices() if d.runtime == self.options.target.runtime for c in d.capabilities}
        return ["fp32", "bf16"] if self.options.target.runtime == "openvino" and "BF16" in found else ["fp32"]

    def _losses(self, samples: tuple[Sample, ...]) -> Losses:
        model = self._model(self.variants.runtime(()))
        return Losses(model, with_truth(model, samples))

    def _model(self, runtime: Any) -> Florence2:
        return Florence2(self.draft, runtime, self.loaded.tokenizer)

    def _operations(self) -> dict[str, dict[str, int]]:
        found = {}
        for name in COMPONENTS:
            model = onnx.load(self.variants.exported[name], load_external_data=False)
            sample = self.records.load(self.records.samples(name)[0])
            found[name] = multiplications(model, shapes_of(model, sample))
        return found


class _Compiled:
    """A mix compiled for the target into a directory that goes with the block."""

    def __init__(self, workshop: Workshop, mix: Mix) -> None:
        self._workshop, self._mix = workshop, mix
        self._directory = workshop.variants.directory / "candidate"

    def __enter__(self) -> Florence2:
        shop = self._workshop
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True)
        plan, scratch = shop.plan(self._mix, {}), shop.variants.directory
        components = compile_components(self._directory, plan, shop.options, shop.loaded, scratch, Listener())
        bundle = replace(shop.draft, path=self._directory, components=components)
        return Florence2(bundle, open_runtime(bundle), shop.loaded.tokenizer)

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)


def shapes_of(model: onnx.ModelProto, inputs: Inputs) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of a graph that is given ``inputs``; 0 stands for a size that cannot be told."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for size, dim in zip(inputs[value.name].shape, value.type.tensor_type.shape.dim, strict=True):
            dim.dim_value = size
    del fixed.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    return {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in values}


def to_manifest(blocks: list[Block], measured: list[Measured], budget: float | None) -> dict[str, Any]:
    """What is known of the choice, as JSON values."""
    found: dict[str, Any] = {"blocks": [asdict(block) for block in blocks]}
    if budget is None:
        return found
    chosen = chosen_of(measured)
    rows = [
        {
            "int8_blocks": len(one.mix.quantized),
            "compute": one.mix.compute,
            "milliseconds": round(one.milliseconds, 2),
            "loss": one.loss,
            "chosen": one is chosen,
        }
        for one in measured
    ]
    return found | {"budget": budget, "mixes": rows, "int8": sorted(map(list, chosen.mix.quantized))}


def chosen_of(measured: list[Measured]) -> Measured:
    """The last whose loss was measured."""
    return [one for one in measured if one.loss is not None][-1]
