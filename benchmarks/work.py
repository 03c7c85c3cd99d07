"""How much there is to compute and to read, from the sizes of the model alone: what the floors are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2edge.geometry import Geometry

_CACHE_BYTES = 2
"""Of a key's or value's number: fp16 or bf16."""


def vision_flops(geometry: Geometry) -> float:
    """Of the tower's and the projector's products with weights (Ding et al., 2022): 367 GFLOP at base size, 768 pixels.

    Attention (13 GFLOP there) and depthwise convolutions (1) come on top, so a floor made of this is a strict one.
    """
    vision, side, before, total = geometry.vision, geometry.image_size[0], 3, 0.0
    for stage, width in enumerate(vision.embed_dim):
        side = -(-side // vision.patch_stride[stage])
        embedding = vision.patch_size[stage] ** 2 * before * width
        halves = 2 * (4 * width * width + 2 * width * vision.mlp_dim[stage])  # a spatial and a channel block
        total += 2 * side * side * (embedding + vision.depths[stage] * halves)
        before = width
    return total + 2 * side * side * before * geometry.d_model


def encoder_flops(geometry: Geometry, tokens: int) -> float:
    """Of the layers' products with weights; attention and the cross-attention's keys and values come on top."""
    d, ffn = geometry.d_model, geometry.encoder_ffn_dim
    return 2.0 * tokens * geometry.encoder_layers * (4 * d * d + 2 * d * ffn)


def step_bytes(geometry: Geometry, encoder_tokens: int, position: int, num_beams: int) -> float:
    """What one decoder step must read: INT8 weights, and keys and values in half precision.

    The beams share the cross-attention's keys and values.
    """
    d, layers = geometry.d_model, geometry.decoder_layers
    weights = layers * (6 * d * d + 2 * d * geometry.decoder_ffn_dim) + geometry.vocab_size * d
    cached = 2 * layers * d * (encoder_tokens + num_beams * position)
    return float(weights + _CACHE_BYTES * cached)
