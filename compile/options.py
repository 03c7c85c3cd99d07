"""The options of one compilation, and the checks that they fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from f2edge.bundle.manifest import BACKBONE, COMPONENTS
from f2edge.errors import CompileError, LimitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.bundle.manifest import Graph
    from f2edge.quantize.policy import WeightFormat
    from f2edge.targets import Compute, Precision, PrecisionOption, Target

CALIBRATION_SAMPLES = 128
_COMPUTE: dict[PrecisionOption, dict[str, Compute]] = {
    "bf16": dict.fromkeys(("vision", "encoder", BACKBONE), "bf16"),
    "int8": dict.fromkeys((*COMPONENTS, BACKBONE), "bf16"),
}
"""The components whose float operations run in bf16.  A step of the decoder with fp16 weights takes longer in it than
in fp32; in INT8 bundles bf16 adds less noise than INT8 does (docs/int8.md)."""


@dataclass(frozen=True)
class Lora:
    """An adapter to merge into the weights, in the form that peft saves.

    Args:
        directory: holds ``adapter_config.json`` and ``adapter_model.safetensors``.
        weight: the factor of what it changes.
    """

    directory: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Options:
    """The options of one compilation.

    Args:
        target: a row of :data:`f2edge.targets.TARGETS`.
        precision: the precision of every component; by default that of the target.
        image_size: side of the square input in pixels; by default that of the checkpoint.
        max_new_tokens: length of the longest answer in tokens; by default that of the checkpoint.
        calibration: a folder of pictures to calibrate INT8 on, or a data set; without it INT8 is slower.
        samples: the most pictures to calibrate on.
        decoder_weights: the format of the decoder weights in an INT8 bundle.
        compute_capabilities: the compute capabilities of the GPUs that engines built ahead of time run on, 86 for 8.6;
            none for all.
        stages: a directory to keep finished stages in; by default they are removed with the end of the compilation.
        budget: search the fastest mix of INT8 and float blocks whose loss of any task metric is at most this; 0.01 is
            one per cent.
        report: measure what each block costs in INT8.
        num_beams: the largest number of beams of a target of fixed shapes; by default that of the checkpoint.
        revision: a branch, a tag or a commit of a checkpoint on the hub; by default its main branch.
        lora: adapters to merge into the weights of the checkpoint.
        graph: what the bundle gives: answers, or the feature maps of a backbone.
        levels: the stages of the tower whose maps a backbone gives, from 1, ascending; all by default.
    """

    target: Target
    precision: PrecisionOption | None = None
    image_size: int | None = None
    max_new_tokens: int | None = None
    calibration: Path | None = None
    samples: int = CALIBRATION_SAMPLES
    decoder_weights: WeightFormat = "int8"
    compute_capabilities: tuple[int, ...] = ()
    stages: Path | None = None
    num_beams: int | None = None
    budget: float | None = None
    report: bool = False
    revision: str | None = None
    lora: tuple[Lora, ...] = ()
    graph: Graph = "answers"
    levels: tuple[int, ...] = ()

    @property
    def precisions(self) -> dict[str, Precision]:
        """The precision of each component's weights; by default that of the target."""
        stored: Precision | None = "fp16" if self.precision == "bf16" else self.precision
        if self.graph == "backbone":
            return {BACKBONE: stored or self.target.precisions["vision"]}
        return {name: stored or default for name, default in self.target.precisions.items()}

    @property
    def compute(self) -> dict[str, Compute]:
        """The type that the float operations of each component run in; only OpenVINO is asked for another than fp32."""
        wanted: dict[str, Compute] = {}
        if self.precision and self.target.runtime == "openvino":
            wanted = _COMPUTE.get(self.precision, {})
        return {name: wanted.get(name, "fp32") for name in self.precisions}

    @property
    def takes_any_size(self) -> bool:
        """Whether the graph of a backbone takes pictures of any size; GPUs and NPUs get one of a fixed size."""
        return self.target.device == "CPU"

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            CompileError, LimitError: two options do not fit, or a value is out of range.
        """
        quantized = self.precision == "int8"
        if wrong := [lora for lora in self.lora if not isfinite(lora.weight)]:
            raise CompileError(f"`lora` {wrong[0].directory}: the weight {wrong[0].weight} is not a finite number")
        if self.budget is not None and not 0 <= self.budget <= 1:
            raise CompileError(f"`budget` {100 * self.budget:g}%: give a loss from 0% to 100%")
        if self.report and not quantized:
            raise CompileError("`report` goes with `precision` int8")
        self._check_target()
        if quantized and self.calibration is None and (reason := self._needs_pictures()):
            raise CompileError(f"{reason} needs pictures to calibrate on; give `calibration`")
        if self.calibration and not quantized:
            raise CompileError("`calibration` goes with `precision` int8")
        if self.compute_capabilities and self.target.name != "rtx":
            raise CompileError("`compute_capabilities` goes with `target` rtx; other engines are built where they run")
        if self.decoder_weights != "int8" and not quantized:
            raise CompileError("`decoder_weights` goes with `precision` int8")
        if self.num_beams is not None and not self.target.static:
            raise LimitError(f"`num_beams` {self.num_beams}: target {self.target.name} takes any number; leave it out")
        self._check_graph()

    def _check_graph(self) -> None:
        """Refuse what does not go with the graph: what a backbone has no use for, or levels without one.

        Raises:
            CompileError, LimitError: an option is of answers only, or the target runs no backbones.
        """
        if self.graph == "answers":
            if self.levels:
                raise CompileError("`levels` goes with `graph` backbone")
            return
        if self.target.runtime == "tensorrt":
            raise CompileError(
                f"`graph` backbone is not there yet for target {self.target.name}; use cpu, onnx, igpu or npu"
            )
        given = {
            "max_new_tokens": self.max_new_tokens is not None,
            "num_beams": self.num_beams is not None,
            "decoder_weights": self.decoder_weights != "int8",
            "precision auto": self.budget is not None,
            "report": self.report,
        }
        if wrong := [name for name, there in given.items() if there]:
            name, *value = wrong[0].split()
            raise CompileError(f"{' '.join([f'`{name}`', *value])} is about answers, and `graph` backbone gives none")
        if self.image_size is not None and self.takes_any_size:
            raise LimitError(
                f"`image_size` {self.image_size}: a backbone for target {self.target.name} takes pictures of any size; "
                "leave it out"
            )

    def _check_target(self) -> None:
        name = self.target.name
        if self.precision == "bf16" and "bf16" not in self.target.capabilities:
            raise CompileError(f"`precision` bf16: target {name} does not compute in bf16; use fp16 or fp32")
        if self.target.static and (self.budget is not None or self.report):
            what = "`report`" if self.report else "`precision` auto"
            raise CompileError(f"{what} is not there for target {name}, whose graphs are not timed here; leave it out")

    def _needs_pictures(self) -> str:
        """Say what of an INT8 compilation needs pictures; nothing if it does without."""
        if self.budget is not None:
            return "`precision` auto"
        if self.report:
            return "`report`"
        return "" if self.target.dynamic_int8 else f"`precision` int8 for target {self.target.name}"


@dataclass(frozen=True)
class Listener:
    """Callbacks that are told what happens.

    Args:
        stage: called with the name of each step as it begins.
        detail: called with a text on how far a long step is.
        notice: called with one line that the user should read, though it is no error.
    """

    stage: Callable[[str], None] = lambda _name: None
    detail: Callable[[str], None] = lambda _text: None
    notice: Callable[[str], None] = lambda _text: None
