"""The geometry of a checkpoint: sizes from its tensors, the rest from its config (spec, section A)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from f2edge.compile.layouts import Layout
from f2edge.errors import CheckpointError
from f2edge.generation import GenerationSettings
from f2edge.geometry import Geometry, VisionGeometry

Shapes = Mapping[str, tuple[int, ...]]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEFAULT_IMAGE_SIZE = 768
_POOLING = ["spatial_avg_pool", "temporal_avg_pool"]


def geometry(shapes: Shapes, config: Mapping[str, Any], processor: Mapping[str, Any]) -> Geometry:
    """The geometry that tensors of ``shapes`` (reference names), ``config`` and image ``processor`` describe.

    Where the config contradicts the tensors on a width or a number of layers it is another model's, and so would be
    its head counts, which no tensor tells: that is an error.  Table sizes it often gets wrong; there the tensors count.

    Raises:
        CheckpointError: every fault found, in one line.
    """
    vision, text = _section(config, "vision_config"), _section(config, "text_config")
    faults = [*_unsupported(vision, text)]
    sizes = Geometry(
        vision=_vision(shapes, vision),
        image_size=_image_size(processor),
        image_mean=tuple(processor.get("image_mean") or IMAGENET_MEAN),
        image_std=tuple(processor.get("image_std") or IMAGENET_STD),
        image_positions=(
            _dim(shapes, "multi_modal_projector.image_position_embed.row_embeddings.weight", 0, 50),
            _dim(shapes, "multi_modal_projector.image_position_embed.column_embeddings.weight", 0, 50),
        ),
        temporal_positions=_dim(shapes, "multi_modal_projector.visual_temporal_embed.pos_idx_to_embed", 0, 100),
        d_model=_dim(shapes, "shared.weight", 1, text.get("d_model", 0)),
        encoder_layers=_count(shapes, r"encoder\.layers\.(\d+)\."),
        decoder_layers=_count(shapes, r"decoder\.layers\.(\d+)\."),
        encoder_attention_heads=_value(text, "encoder_attention_heads"),
        decoder_attention_heads=_value(text, "decoder_attention_heads"),
        encoder_ffn_dim=_dim(shapes, "encoder.layers.0.fc1.weight", 0, text.get("encoder_ffn_dim", 0)),
        decoder_ffn_dim=_dim(shapes, "decoder.layers.0.fc1.weight", 0, text.get("decoder_ffn_dim", 0)),
        encoder_positions=_positions(shapes, "encoder", text),
        decoder_positions=_positions(shapes, "decoder", text),
        vocab_size=_dim(shapes, "shared.weight", 0, text.get("vocab_size", 0)),
    )
    faults += [*_contradictions(sizes, vision, text), *_indivisible(sizes)]
    if faults:
        raise CheckpointError("config.json does not fit the tensors: " + "; ".join(faults))
    check_image_size(sizes)
    return sizes


def check_image_size(sizes: Geometry) -> None:
    """Refuse an image size that the model cannot take.

    Raises:
        CheckpointError: not a multiple of 32, or larger than the position tables.
    """
    height, width = sizes.image_size
    if height <= 0 or width <= 0 or height % 32 or width % 32:
        raise CheckpointError(f"image size {height}x{width}: both sides must be positive multiples of 32")
    rows, columns = sizes.feature_map
    if rows > sizes.image_positions[0] or columns > sizes.image_positions[1]:
        limit = 32 * min(sizes.image_positions)
        raise CheckpointError(f"image size {height}x{width} is over what this checkpoint's tables allow: {limit}")
    if sizes.max_prompt_tokens < 3:  # noqa: PLR2004 - begin, one token, end
        raise CheckpointError(f"image size {height}x{width} leaves no room for a prompt; choose a smaller one")


def generation_settings(
    layout: Layout, config: Mapping[str, Any], generation_config: Mapping[str, Any], sizes: Geometry
) -> GenerationSettings:
    """The checkpoint's defaults: Microsoft's stand in ``text_config``, transformers' in ``generation_config.json``.

    Microsoft's ``generation_config.json`` is not read, since Microsoft's ``generate`` does not (spec, section A).
    """
    source = dict(_section(config, "text_config")) if layout == "microsoft" else dict(generation_config)
    defaults = GenerationSettings()
    taken = {
        name: source[name]
        for name in defaults.__dataclass_fields__
        if name in source and name not in ("max_new_tokens", "decoder_start_token_id")
    }
    start = source.get("decoder_start_token_id")
    return replace(
        defaults,
        **taken,
        decoder_start_token_id=defaults.decoder_start_token_id if start is None else start,
        max_new_tokens=min(defaults.max_new_tokens, sizes.decoder_positions),
    )


def _vision(shapes: Shapes, vision: Mapping[str, Any]) -> VisionGeometry:
    stages = _count(shapes, r"vision_tower\.convs\.(\d+)\.")
    per_stage = {
        name: tuple(_value(vision, name))
        for name in ("num_heads", "num_groups", "patch_size", "patch_stride", "patch_padding", "patch_prenorm")
    }
    wrong = [name for name, value in per_stage.items() if len(value) != stages]
    if wrong or not stages:
        raise CheckpointError(f"config.json: {', '.join(wrong)} must have one entry for each of {stages} stages")
    return VisionGeometry(
        embed_dim=tuple(_dim(shapes, f"vision_tower.convs.{i}.conv.weight", 0, 0) for i in range(stages)),
        depths=tuple(_count(shapes, rf"vision_tower\.blocks\.{i}\.(\d+)\.") for i in range(stages)),
        window_size=_value(vision, "window_size"),
        mlp_dim=tuple(
            _dim(shapes, f"vision_tower.blocks.{i}.0.spatial_block.ffn.fc1.weight", 0, 0) for i in range(stages)
        ),
        **per_stage,
    )


def _unsupported(vision: Mapping[str, Any], text: Mapping[str, Any]) -> list[str]:
    faults = []
    if list(vision.get("image_feature_source", _POOLING)) != _POOLING:
        faults.append(f"image_feature_source {vision['image_feature_source']} is not supported, only {_POOLING}")
    if text.get("scale_embedding"):
        faults.append("scale_embedding is not supported")
    if text.get("activation_function", "gelu") != "gelu":
        faults.append(f"activation {text['activation_function']} is not supported, only gelu")
    return faults


def _contradictions(sizes: Geometry, vision: Mapping[str, Any], text: Mapping[str, Any]) -> list[str]:
    found = {
        "dim_embed": sizes.vision.embed_dim,
        "embed_dim": sizes.vision.embed_dim,
        "depths": sizes.vision.depths,
    }
    faults = [
        f"{name} is {list(vision[name])}, the tensors say {list(value)}"
        for name, value in found.items()
        if name in vision and tuple(vision[name]) != value
    ]
    names = ("d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim")
    return faults + [
        f"{name} is {text[name]}, the tensors say {getattr(sizes, name)}"
        for name in names
        if name in text and text[name] != getattr(sizes, name)
    ]


def _indivisible(sizes: Geometry) -> list[str]:
    pairs = [("encoder_attention_heads", sizes.d_model, sizes.encoder_attention_heads)]
    pairs += [("decoder_attention_heads", sizes.d_model, sizes.decoder_attention_heads)]
    for name in ("num_heads", "num_groups"):
        pairs += [(name, dim, heads) for dim, heads in zip(sizes.vision.embed_dim, getattr(sizes.vision, name), strict=True)]
    return [f"{name} {heads} does not divide the width {dim}" for name, dim, heads in pairs if not heads or dim % heads]


def _image_size(processor: Mapping[str, Any]) -> tuple[int, int]:
    size = processor.get("size") or {}
    return size.get("height", DEFAULT_IMAGE_SIZE), size.get("width", DEFAULT_IMAGE_SIZE)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    if not isinstance(section, Mapping):
        raise CheckpointError(f"config.json has no {name}: this is not a Florence-2 checkpoint")
    return section


def _value(section: Mapping[str, Any], name: str) -> Any:
    if section.get(name) is None:
        raise CheckpointError(f"config.json lacks {name}, which the tensors do not tell")
    return section[name]


def _positions(shapes: Shapes, stack: str, text: Mapping[str, Any]) -> int:
    return _dim(shapes, f"{stack}.embed_positions.weight", 0, text.get("max_position_embeddings", 1024) + 2) - 2


def _dim(shapes: Shapes, name: str, axis: int, fallback: int) -> int:
    """A size of a tensor; where it is missing the fallback serves until all missing tensors are reported at once."""
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else fallback


def _count(shapes: Shapes, pattern: str) -> int:
    return len({match.group(1) for name in shapes if (match := re.match(pattern, name))})
