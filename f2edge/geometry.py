"""The sizes of one Florence-2 model, which bundles and engines need."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from f2edge.processing import ImageProcessing

if TYPE_CHECKING:
    from collections.abc import Iterator

STRIDE = 32
"""Pixels per position of the last feature map, in either direction (docs/florence2.md#patch-embeddings)."""

_MAX_SIZE = 2**16  # ten times what any Florence-2 has
_MAX_VOCABULARY = 2**20
_SHORTEST_PROMPT = 3  # begin, one token, end


@dataclass(frozen=True)
class VisionGeometry:
    """The DaViT tower (docs/florence2.md#vision-tower); one entry per stage in every tuple.

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
    """The whole model.  Table sizes are those of the tensors (docs/florence2.md#table-sizes).

    ``image_size`` is (height, width) in pixels; ``image_positions`` the (rows, columns) of the position tables.
    Bundles from before ``image_processing`` had its default.
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
    image_processing: ImageProcessing = ImageProcessing()  # noqa: RUF009 - frozen

    @property
    def feature_map(self) -> tuple[int, int]:
        """(height, width) of the last feature map of the tower."""
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
        """The length of the longest prompt in tokens, its begin and end tokens included."""
        return self.encoder_positions - self.num_image_tokens

    @property
    def decoder_head_dim(self) -> int:
        """The width of one attention head of the decoder."""
        return self.d_model // self.decoder_attention_heads

    def to_json(self) -> dict[str, Any]:
        """Return the geometry as plain JSON values."""
        return asdict(self)


def size_faults(geometry: Geometry) -> list[str]:
    """List the faults of the sizes that the weights fix, each as a short sentence; none for a sound model."""
    limits = {"vocab_size": _MAX_VOCABULARY}
    wrong = [
        f"{name} is {value}; it must be {least} to {limits.get(name, _MAX_SIZE)}"
        for name, value in _sizes(geometry)
        if not (least := int(name != "patch_padding")) <= value <= limits.get(name, _MAX_SIZE)
    ]
    strides = geometry.vision.patch_stride
    if math.prod(strides) != STRIDE:
        wrong.append(f"patch_stride is {list(strides)}; the product must be {STRIDE}")
    return wrong


def image_faults(geometry: Geometry) -> list[str]:
    """List the faults of the image size and normalisation of a model of sound sizes, each as a short sentence."""
    faults = [
        f"{name} is {list(values)}; it must be finite"
        for name, values in (("image_mean", geometry.image_mean), ("image_std", geometry.image_std))
        if not all(map(math.isfinite, values))
    ]
    if any(value <= 0 for value in geometry.image_std):
        faults.append(f"image_std is {list(geometry.image_std)}; pixels are divided by it")
    faults += [f"image_processing: {fault}" for fault in geometry.image_processing.faults(geometry.image_size)]
    fault = image_size_fault(geometry)
    return [*faults, fault] if fault else faults


def image_size_fault(geometry: Geometry) -> str | None:
    """Return why a model of sound sizes cannot take images of its size; None if it can."""
    (height, width), positions = geometry.image_size, geometry.image_positions
    size = f"image size {height}x{width}"
    if height <= 0 or width <= 0 or height % STRIDE or width % STRIDE:
        return f"{size}: both sides must be positive multiples of {STRIDE}"
    if height > STRIDE * positions[0] or width > STRIDE * positions[1]:
        return f"{size} is over what this checkpoint's tables allow: {STRIDE * min(positions)}"
    if geometry.feature_map != (height // STRIDE, width // STRIDE):
        return f"{size}: patch_size, patch_stride and patch_padding do not make a map of {STRIDE} pixels a position"
    if geometry.max_prompt_tokens < _SHORTEST_PROMPT:
        return f"{size} leaves no room for a prompt; choose a smaller one"
    return None


def _sizes(geometry: Geometry) -> Iterator[tuple[str, int]]:
    """Yield every whole number of the geometry with the name of its field, except the image size."""
    for part in (geometry, geometry.vision):
        for name, value in vars(part).items():
            for number in value if isinstance(value, tuple) else (value,):
                if type(number) is int and name != "image_size":
                    yield name, number
