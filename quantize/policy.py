"""The INT8 policy: which operators of each graph are quantized and which stay float.

docs/int8.md gives the reasons, with the measurements behind them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

WeightFormat: TypeAlias = Literal["int8", "int4"]
"""Formats of a weights-only quantized decoder."""

Kind: TypeAlias = Literal["attention", "depthwise", "stem"]
"""Kinds of products and convolutions that a policy can keep float: products of two activations (queries with keys,
attention with values), depthwise convolutions, and the convolution that reads the pixels."""


@dataclass(frozen=True)
class Policy:
    """The quantization of one graph.

    Args:
        activations: ``True`` to quantize weights and activations (W8A8), ``False`` to quantize weights only.
        float_types: ONNX operator types that stay float.
        float_kinds: kinds of products and convolutions that stay float.
        float_blocks: names of blocks (:mod:`f2edge.quantize.blocks`) that stay float.
        smooth_quant: SmoothQuant's alpha for matrix products; -1 switches SmoothQuant off.
    """

    activations: bool
    float_types: tuple[str, ...]
    float_kinds: tuple[Kind, ...]
    float_blocks: tuple[str, ...]
    smooth_quant: float


POLICIES = {
    # Depthwise convolutions add to the residual stream: 1 % of the work, three quarters of the noise.  All features
    # pass through the convolutions between stages and the projector: 5 % of the work.  See docs/int8.md.
    "vision": Policy(
        activations=True,
        float_types=("Gather",),
        float_kinds=("attention", "depthwise", "stem"),
        float_blocks=("vision_tower.convs.1", "vision_tower.convs.2", "multi_modal_projector"),
        smooth_quant=0.95,
    ),
    # The tower without its projector.  The size of pictures is open, and ONNX Runtime has no product of integers for a
    # convolution of open sizes, so that all convolutions stay float.
    "backbone": Policy(
        activations=True,
        float_types=("Gather", "Conv"),
        float_kinds=("attention", "depthwise", "stem"),
        float_blocks=("vision_tower.convs.1", "vision_tower.convs.2", "vision_tower.convs.3"),
        smooth_quant=0.95,
    ),
    # Prompts and image features share one scale, so SmoothQuant matters most here.  Most values of a softmax over 590
    # tokens are below one INT8 step.  See docs/int8.md.
    "encoder": Policy(
        activations=True,
        float_types=("Gather",),
        float_kinds=("attention",),
        float_blocks=(),
        smooth_quant=0.95,
    ),
    # Reading weights bounds the time of a step, and coordinates need precise scores: weights only.  See docs/int8.md.
    "decoder": Policy(
        activations=False,
        float_types=(),
        float_kinds=("attention",),
        float_blocks=(),
        smooth_quant=-1,
    ),
}
"""The policy of each component.  Softmax, layer norms and GELU stay float in all of them, because NNCF's transformer
scheme does not quantize these operators."""
