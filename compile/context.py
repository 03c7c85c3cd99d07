"""One compilation: what was asked for, where it works, and what its steps have made so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from f2edge.bundle.levels import FeatureMaps, choose, levels_of
from f2edge.bundle.manifest import BACKBONE
from f2edge.compile.components import ComponentCompiler, Plan
from f2edge.compile.export.backbone import backbone_graph
from f2edge.compile.export.fixed_shapes import static_graphs
from f2edge.compile.export.graphs import graphs
from f2edge.compile.stages import digest_of_weights
from f2edge.errors import CompileError

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.limits import Limits
    from f2edge.bundle.manifest import Bundle
    from f2edge.bundle.quantization import Block, Quantization
    from f2edge.calibration.recorder import Records
    from f2edge.calibration.sources import Selection
    from f2edge.compile.checkpoint.load import Checkpoint
    from f2edge.compile.export.graphs import Graph
    from f2edge.compile.options import Listener, Options
    from f2edge.compile.stages import Stages

TAKES_BATCHES = ("openvino", "onnxruntime")
"""The runtimes whose decoders answer several questions in one step; fixed shapes take one."""


@dataclass(frozen=True)
class Workspace:
    """The directories that one compilation writes to.

    Args:
        directory: the bundle in the making, which is renamed into its place at the end.
        stages: finished stages, which another compilation may reuse.
        scratch: files that no bundle holds; removed at the end.
    """

    directory: Path
    stages: Stages
    scratch: Path


@dataclass
class BuildContext:
    """Everything that the steps of one compilation share; each step reads what earlier ones have made and adds its own.

    Args:
        source: the checkpoint that was asked for, a directory or a hub id.
        options: what was asked for.
        selection: the pictures to calibrate INT8 on; None for a float bundle.
        listener: is told what happens.
        workspace: where files go; set once the checkpoint is loaded and found usable.
        checkpoint: the reference model and what belongs to it.
        fixed_shapes: the sizes of the graphs, where the target takes no others.
        exported: the float graphs by component.
        draft: the bundle in the making.
        records: the inputs of each graph on the calibration pictures, if there are such pictures.
        quantized: the INT8 graphs by component.
        blocks: what each block costs in INT8, where that was measured.
        chosen: the mix of INT8 and float blocks that the search chose.
        quantization: what was measured of INT8, for the manifest; None if nothing was.
        files: the compiled files by component.
    """

    source: str | Path
    options: Options
    selection: Selection | None
    listener: Listener
    workspace: Workspace = field(init=False)
    checkpoint: Checkpoint = field(init=False)
    fixed_shapes: Limits | None = None
    exported: dict[str, Path] = field(default_factory=dict)
    draft: Bundle = field(init=False)
    records: Records = field(init=False)
    quantized: dict[str, Path] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    chosen: Plan | None = None
    quantization: Quantization | None = None
    files: dict[str, list[Path]] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The graphs to compile: the chosen mix, else those in INT8, else the float ones."""
        if self.chosen:
            return self.chosen
        return Plan(self.quantized or self.exported, self.options.precisions, self.options.compute)

    @cached_property
    def graphs(self) -> dict[str, Graph]:
        """The graphs to trace, by component."""
        model = self.checkpoint.model
        if self.maps:
            return {BACKBONE: backbone_graph(model, self.maps.feature_info, self.maps.image_size)}
        if self.traced_shapes:
            return static_graphs(model, self.traced_shapes)
        return graphs(model, batched=self.options.target.runtime in TAKES_BATCHES)

    @property
    def traced_shapes(self) -> Limits | None:
        """The sizes of the graphs that are traced first; INT8 is calibrated on graphs that take any."""
        return None if self.options.precision == "int8" else self.fixed_shapes

    @cached_property
    def maps(self) -> FeatureMaps | None:
        """The maps of a backbone; None for answers.

        Raises:
            CompileError: the tower has no such stages.
        """
        options, geometry = self.options, self.checkpoint.model.geometry
        if options.graph == "answers":
            return None
        try:
            chosen = choose(levels_of(geometry.vision), options.levels)
        except ValueError as error:
            raise CompileError(f"`levels`: {error}") from error
        return FeatureMaps(chosen, None if options.takes_any_size else geometry.image_size)

    @cached_property
    def digest_of_weights(self) -> str:
        """SHA-256 of the reference model's weights."""
        return digest_of_weights(self.checkpoint.model)

    @cached_property
    def compiler(self) -> ComponentCompiler:
        """The tool that writes the bundle's graphs; they share a file of weights."""
        place = self.workspace
        return ComponentCompiler(place.directory, place.scratch, self.options, self.checkpoint)
