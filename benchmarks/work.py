"""Operations and bytes that the model needs, from its sizes alone; the floors are derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2edge.geometry import Geometry

_CACHE_BYTES = 2
"""Bytes of one element of a key or value: fp16 or bf16."""


def vision_flops(geometry: Geometry) -> float:
    """Return the FLOP of the products with weights in tower and projector: 367e9 at base size and 768 pixels.

    Attention (13e9 FLOP there) and depthwise convolutions (1e9) are left out, so a floor derived from this is strict.
    The tower is DaViT (Ding et al., 2022).
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
    """Return the FLOP of the encoder layers' products with weights, for a number of tokens.

    Attention, and the keys and values of the decoder's cross-attention, are left out.
    """
    d, ffn = geometry.d_model, geometry.encoder_ffn_dim
    return 2.0 * tokens * geometry.encoder_layers * (4 * d * d + 2 * d * ffn)


def step_bytes(geometry: Geometry, encoder_tokens: int, position: int, num_beams: int) -> float:
    """Return the bytes that one decoder step must read: INT8 weights, and keys and values in half precision.

    All beams share the keys and values of the cross-attention.

    Args:
        geometry: the model's sizes.
        encoder_tokens: tokens of image and prompt.
        position: tokens before the step.
        num_beams: number of beams.
    """
    d, layers = geometry.d_model, geometry.decoder_layers
    weights = layers * (6 * d * d + 2 * d * geometry.decoder_ffn_dim) + geometry.vocab_size * d
    cached = 2 * layers * d * (encoder_tokens + num_beams * position)
    return float(weights + _CACHE_BYTES * cached)
