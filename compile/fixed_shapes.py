"""The steps of a compilation to INT8 for fixed shapes: it is calibrated on graphs for questions of any length.

An answer of the float model, and prompts without padding, need dynamic graphs.  The tower has one shape anyway.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import onnx

from f2edge.compile.export.fixed_prompt import fix_prompt
from f2edge.compile.export.fixed_shapes import static_graphs
from f2edge.compile.steps import export_to_stage
from f2edge.quantize.onnx_files import save_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.compile.context import BuildContext


def fix_decoder(context: BuildContext) -> None:
    """Trace the decoder of fixed shapes; its weights alone are quantized, which needs no calibration."""
    assert context.fixed_shapes
    graph = static_graphs(context.checkpoint.model, context.fixed_shapes)["decoder"]
    context.exported["decoder"] = export_to_stage(context, "decoder", graph, context.fixed_shapes)


def fix_encoder(context: BuildContext) -> None:
    """Fix the shapes of the encoder in INT8, which keeps its scales.

    Raises:
        CompileError: the graph has no attention that could be masked.
    """
    assert context.fixed_shapes
    source, shapes = context.quantized["encoder"], context.fixed_shapes
    image_tokens = context.checkpoint.model.geometry.num_image_tokens

    def make(directory: Path) -> None:
        model = onnx.load(source)
        fix_prompt(model, image_tokens, shapes.prompt_tokens)
        save_onnx(model, directory / source.name)

    inputs = {"graph": source.parent.name, "image_tokens": image_tokens, "shapes": asdict(shapes)}
    context.quantized["encoder"] = context.workspace.stages.run("fix encoder", inputs, make) / source.name
