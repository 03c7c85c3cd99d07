"""The sizes of one Florence-2 model: everything about its shape that a bundle or an engine needs to know."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class VisionGeometry:
    """The DaViT tower (spec, sections A and B); one entry per stage in every tuple.

    ``num_groups`` are the groups of the channel attention; ``patch_prenorm`` tells whether the layer norm of a patch
    embedding stands before its convolution; ``window_size`` is in positions of the map.

    Raises:
        ValueError: the tuples differ in length, or are empty.
    """

    embed_dim: tuple[int, ...]
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    num_groups: tuple[int, ...]
    patch_size: tuple[int, ...]
    patch_stride: tuple[int, ...]
    patch_padding: tuple[int, ...]
    patch_prenorm: tuple[bool, ...]
    window_size: int
    mlp_dim: tuple[int, ...]

    def __post_init__(self) -> None:
        stages = {len(values) for values in vars(self).values() if isinstance(values, tuple)}
        if len(stages) != 1 or 0 in stages:
            raise ValueError(f"a tower of {' or '.join(map(str, sorted(stages)))} stages")


@dataclass(frozen=True)
class Geometry:
    """The whole model.  Table sizes are those of the tensors, which a config often gets wrong (spec, section A).

    ``image_size`` is (height, width) in pixels; ``image_positions`` the (rows, columns) of the position tables.
    """

    vision: VisionGeometry
    image_size: tuple[int, int]
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    image_positions: tuple[int, int]
    temporal_positions: int
    d_model: int
    encoder_layers: int
    decoder_layers: int
    encoder_attention_heads: int
    decoder_attention_heads: int
    encoder_ffn_dim: int
    decoder_ffn_dim: int
    encoder_positions: int
    decoder_positions: int
    vocab_size: int

    @property
    def feature_map(self) -> tuple[int, int]:
        """(height, width) of the tower's last map."""
        height, width = self.image_size
        for kernel, stride, padding in zip(
            self.vision.patch_size, self.vision.patch_stride, self.vision.patch_padding, strict=True
        ):
            height = (height + 2 * padding - kernel) // stride + 1
            width = (width + 2 * padding - kernel) // stride + 1
        return height, width

    @property
    def num_image_tokens(self) -> int:
        """Tokens in front of the prompt: one per position of the last map, and their mean."""
        height, width = self.feature_map
        return height * width + 1

    @property
    def max_prompt_tokens(self) -> int:
        """The longest prompt, its begin and end tokens included."""
        return self.encoder_positions - self.num_image_tokens

    @property
    def decoder_head_dim(self) -> int:
        """Width of one attention head of the decoder."""
        return self.d_model // self.decoder_attention_heads

    def to_json(self) -> dict[str, Any]:
        """The geometry as plain JSON values."""
        return asdict(self)
