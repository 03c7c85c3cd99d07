"""What becomes INT8, what stays float, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

WeightFormat: TypeAlias = Literal["int8", "int4"]


Kind: TypeAlias = Literal["attention", "depthwise", "stem"]
"""Products of two activations (queries with keys, attention with values); depthwise convolutions; the convolution that
reads the pixels."""


@dataclass(frozen=True)
class Policy:
    """How one graph is quantized.

    Args:
        activations: weights and activations (W8A8), or the weights alone.
        float_types: ONNX operators that stay float.
        float_kinds: products that stay float.
        float_blocks: blocks (:mod:`f2edge.quantize.blocks`) that stay float.
        smooth_quant: alpha of SmoothQuant for matrix products; -1 switches it off.
        why: the reasons, with what was measured on the embedded checkpoint: the mean divergence of the next token's
            distribution from the float model's, times 1000.
    """

    activations: bool
    float_types: tuple[str, ...]
    float_kinds: tuple[Kind, ...]
    float_blocks: tuple[str, ...]
    smooth_quant: float
    why: str


POLICIES = {
    "vision": Policy(
        activations=True,
        float_types=("Gather",),
        float_kinds=("attention", "depthwise", "stem"),
        float_blocks=("vision_tower.convs.1", "vision_tower.convs.2", "multi_modal_projector"),
        smooth_quant=0.95,
        why="a depthwise convolution has 9 weights a channel and adds to the residual stream: all of them are 1 % of "
        "the work and three quarters of the noise (1.7 with, 0.4 without); SmoothQuant halves the rest (0.19); "
        "attention in float (0.13) takes no longer, since to quantize its inputs costs what it saves; everything goes "
        "through the convolutions between stages and the projector, 5 % of the work: float, 0.07 is left, and without "
        "the last convolution, which has most of their weights, 0.11 (base size: 24.8 to 27 dB)",
    ),
    "encoder": Policy(
        activations=True,
        float_types=("Gather",),
        float_kinds=("attention",),
        float_blocks=(),
        smooth_quant=0.95,
        why="SmoothQuant takes 2.8 to 0.26: prompts and image features share its scales; a softmax over 590 tokens has "
        "most of its values below INT8's step; positions are only looked up, and prompts are in the decoder's table",
    ),
    "decoder": Policy(
        activations=False,
        float_types=(),
        float_kinds=("attention",),
        float_blocks=(),
        smooth_quant=-1,
        why="a step is bound by reading weights, and coordinates need precise scores (0.05)",
    ),
}
"""By component.  Softmax, layer norms and GELU stay float in each: NNCF's transformer scheme leaves them alone."""
