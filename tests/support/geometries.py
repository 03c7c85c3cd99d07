"""The published sizes of Florence-2 (docs/florence2.md#published-sizes)."""

from __future__ import annotations

from f2edge.geometry import Geometry, VisionGeometry
from tests.support.checkpoints import IMAGENET


def _florence2(dims: tuple[int, ...], d_model: int, layers: int, ffn: int) -> Geometry:
    heads = tuple(dim // 32 for dim in dims)
    vision = VisionGeometry(
        embed_dim=dims,
        depths=(1, 1, 9, 1),
        num_heads=heads,
        num_groups=heads,
        patch_size=(7, 3, 3, 3),
        patch_stride=(4, 2, 2, 2),
        patch_padding=(3, 1, 1, 1),
        patch_prenorm=(False, True, True, True),
        window_size=12,
        mlp_dim=tuple(4 * dim for dim in dims),
    )
    return Geometry(
        vision=vision,
        image_size=(768, 768),
        image_mean=IMAGENET[0],
        image_std=IMAGENET[1],
        image_positions=(50, 50),
        temporal_positions=100,
        d_model=d_model,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=d_model // 64,
        decoder_attention_heads=d_model // 64,
        encoder_ffn_dim=ffn,
        decoder_ffn_dim=ffn,
        encoder_positions=1024,
        decoder_positions=1024,
        vocab_size=51289,
    )


BASE = _florence2((128, 256, 512, 1024), 768, 6, 3072)
LARGE = _florence2((256, 512, 1024, 2048), 1024, 12, 4096)
