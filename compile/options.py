"""What ``f2edge compile`` was asked for, and what of it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.errors import CompileError, LimitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.quantize.policy import WeightFormat
    from f2edge.targets import Precision, Target

CALIBRATION_SAMPLES = 128


@dataclass(frozen=True)
class Options:
    """The wishes of one compilation.

    Args:
        target: a row of :data:`f2edge.targets.TARGETS`.
        precision: of every component; by default the target's.
        image_size: side of the square input in pixels; by default the checkpoint's.
        max_new_tokens: longest answer the bundle gives unless asked otherwise; by default the checkpoint's limit.
        calibration: pictures to calibrate INT8 on, or a data set.
        samples: how many of them to take.
        decoder_weights: format of the decoder's weights in an INT8 bundle.
        compute_capabilities: of the GPUs that engines built ahead of time shall run on, 86 for 8.6; none for all.
        stages: directory where finished stages are kept and looked for; by default one that does not outlive the build.
        budget: the largest loss of any task metric that the search for the fastest mix accepts, 0.01 for one per cent.
        report: measure what each block costs in INT8.
        num_beams: rows of a decoder whose shapes are fixed; by default the checkpoint's.
    """

    target: Target
    precision: Precision | None = None
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

    @property
    def precisions(self) -> dict[str, Precision]:
        """The precision of each component, the target's where none was named."""
        return {name: self.precision or default for name, default in self.target.precisions.items()}

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            CompileError, LimitError: which; a name in backticks is that of an argument.
        """
        quantized = self.precision == "int8"
        if self.budget is not None and not 0 <= self.budget <= 1:
            raise CompileError(f"`budget` {100 * self.budget:g}%: give a loss from 0% to 100%")
        if self.report and not quantized:
            raise CompileError("`report` goes with `precision` int8")
        if quantized and self.target.static:
            raise CompileError(f"`precision` int8 is not there yet for target {self.target.name}; use fp16 or fp32")
        if quantized and self.calibration is None:
            raise CompileError("`precision` int8 needs pictures to calibrate on; give `calibration`")
        if self.calibration and not quantized:
            raise CompileError("`calibration` goes with `precision` int8")
        if self.compute_capabilities and self.target.name != "rtx":
            raise CompileError("`compute_capabilities` goes with `target` rtx; other engines are built where they run")
        if self.decoder_weights != "int8" and not quantized:
            raise CompileError("`decoder_weights` goes with `precision` int8")
        if self.num_beams is not None and not self.target.static:
            raise LimitError(f"`num_beams` {self.num_beams}: target {self.target.name} takes any number; leave it out")


@dataclass(frozen=True)
class Listener:
    """Who is told what happens.

    Args:
        stage: called with the name of each stage as it begins.
        detail: called with how far a long stage is.
        notice: called with one line that the user should know, though it is no error.
    """

    stage: Callable[[str], None] = lambda _name: None
    detail: Callable[[str], None] = lambda _text: None
    notice: Callable[[str], None] = lambda _text: None
