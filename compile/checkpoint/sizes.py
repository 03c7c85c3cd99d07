"""Read the sizes of a checkpoint from its tensors, the rest from its config (docs/florence2.md#configuration)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from f2edge.compile.checkpoint import config as values
from f2edge.compile.checkpoint.processor import read_processor
from f2edge.errors import CheckpointError
from f2edge.geometry import Geometry, VisionGeometry, image_size_fault, size_faults

Shapes = Mapping[str, tuple[int, ...]]

_POOLING = ["spatial_avg_pool", "temporal_avg_pool"]
_UNUSED_POSITIONS = 2  # rows at the head of BART's position tables


def geometry(
    shapes: Shapes, config: Mapping[str, Any], processor: Mapping[str, Any], image_size: int | None = None
) -> Geometry:
    """Return the geometry that tensors of ``shapes`` (reference names), ``config`` and image ``processor`` describe.

    ``image_size``, a side in pixels, takes the place of the processor's size.

    If the config contradicts the tensors on a width or a number of layers, it belongs to another model, and so would
    its head counts, which no tensor tells: that is an error.  Configs often have wrong table sizes; the tensors count.

    Raises:
        CheckpointError: a value is missing, of a wrong kind or does not fit the tensors; all faults in one line.
    """
    vision, text = values.section(config, "vision_config"), values.section(config, "text_config")
    pictures = read_processor(processor, image_size)
    sizes = Geometry(
        vision=_vision(shapes, vision),
        image_size=pictures.image_size,
        image_mean=pictures.image_mean,
        image_std=pictures.image_std,
        image_processing=pictures.processing,
        image_positions=(
            _dim(shapes, "multi_modal_projector.image_position_embed.row_embeddings.weight", 0, 50),
            _dim(shapes, "multi_modal_projector.image_position_embed.column_embeddings.weight", 0, 50),
        ),
        temporal_positions=_dim(shapes, "multi_modal_projector.visual_temporal_embed.pos_idx_to_embed", 0, 100),
        d_model=_agreed(shapes, r"(?:(?:en|de)coder\.layernorm_embedding|shared)\.weight", -1, text.get("d_model")),
        encoder_layers=_count(shapes, r"encoder\.layers\.(\d+)\."),
        decoder_layers=_count(shapes, r"decoder\.layers\.(\d+)\."),
        encoder_attention_heads=values.integer(text, "encoder_attention_heads"),
        decoder_attention_heads=values.integer(text, "decoder_attention_heads"),
        encoder_ffn_dim=_agreed(shapes, r"encoder\.layers\.\d+\.fc1\.\w+", 0, text.get("encoder_ffn_dim")),
        decoder_ffn_dim=_agreed(shapes, r"decoder\.layers\.\d+\.fc1\.\w+", 0, text.get("decoder_ffn_dim")),
        encoder_positions=_positions(shapes, "encoder"),
        decoder_positions=_positions(shapes, "decoder"),
        vocab_size=_dim(shapes, "shared.weight", 0, text.get("vocab_size")),
    )
    faults = [*_unsupported(vision, text), *_contradictions(sizes, vision, text), *_indivisible(sizes)]
    faults += size_faults(sizes)
    if faults:
        raise CheckpointError("config.json does not fit the tensors: " + "; ".join(faults))
    return sizes


def check_image_size(sizes: Geometry) -> None:
    """Refuse an image size that the model cannot take.

    Raises:
        CheckpointError: it is no multiple of 32, is larger than the position tables, or leaves no room for a prompt.
    """
    if fault := image_size_fault(sizes):
        raise CheckpointError(fault)


def _vision(shapes: Shapes, vision: Mapping[str, Any]) -> VisionGeometry:
    stages = range(_count(shapes, r"vision_tower\.convs\.(\d+)\."))
    widths = vision.get("dim_embed", vision.get("embed_dim"))
    widths = widths if isinstance(widths, list) and len(widths) == len(stages) else [None] * len(stages)
    embed_dim = [_agreed(shapes, rf"vision_tower\.convs\.{i}\.conv\.\w+", 0, widths[i]) for i in stages]
    fc1 = r"vision_tower\.blocks\.{}\.\d+\.\w+_block\.ffn\.fc1\.\w+"
    return VisionGeometry(
        embed_dim=tuple(embed_dim),
        depths=tuple(_count(shapes, rf"vision_tower\.blocks\.{i}\.(\d+)\.") for i in stages),
        num_heads=values.per_stage(vision, "num_heads", len(stages)),
        num_groups=values.per_stage(vision, "num_groups", len(stages)),
        patch_size=values.per_stage(vision, "patch_size", len(stages)),
        patch_stride=values.per_stage(vision, "patch_stride", len(stages)),
        patch_padding=values.per_stage(vision, "patch_padding", len(stages), least=0),
        patch_prenorm=values.per_stage(vision, "patch_prenorm", len(stages), kind=bool),
        window_size=values.integer(vision, "window_size"),
        mlp_dim=tuple(_agreed(shapes, fc1.format(i), 0, 4 * embed_dim[i]) for i in stages),
    )


def _unsupported(vision: Mapping[str, Any], text: Mapping[str, Any]) -> list[str]:
    pooling, activation = (
        vision.get("image_feature_source", _POOLING),
        text.get("activation_function", "gelu"),
    )
    faults = []
    if pooling != _POOLING:
        faults.append(f"image_feature_source {pooling} is not supported, only {_POOLING}")
    if text.get("scale_embedding"):
        faults.append("scale_embedding is not supported")
    if activation != "gelu":
        faults.append(f"activation {activation} is not supported, only gelu")
    return faults


def _contradictions(sizes: Geometry, vision: Mapping[str, Any], text: Mapping[str, Any]) -> list[str]:
    names = ("d_model", "encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim")
    told = {
        "dim_embed": list(sizes.vision.embed_dim),
        "embed_dim": list(sizes.vision.embed_dim),
        "depths": list(sizes.vision.depths),
        **{name: getattr(sizes, name) for name in names},
    }
    said = {**vision, **{name: text[name] for name in names if name in text}}
    return [
        f"{name} is {said[name]}, the tensors say {value}"
        for name, value in told.items()
        if name in said and said[name] != value
    ]


def _indivisible(sizes: Geometry) -> list[str]:
    pairs = [("encoder_attention_heads", sizes.d_model, sizes.encoder_attention_heads)]
    pairs += [("decoder_attention_heads", sizes.d_model, sizes.decoder_attention_heads)]
    for name in ("num_heads", "num_groups"):
        pairs += [
            (name, dim, heads) for dim, heads in zip(sizes.vision.embed_dim, getattr(sizes.vision, name), strict=True)
        ]
    return [f"{name} {heads} does not divide the width {dim}" for name, dim, heads in pairs if not heads or dim % heads]


def _positions(shapes: Shapes, stack: str) -> int:
    name = f"{stack}.embed_positions.weight"
    rows = _dim(shapes, name, 0, 1024 + _UNUSED_POSITIONS)
    if rows <= _UNUSED_POSITIONS:
        raise CheckpointError(f"{name} has {rows} rows, and the first {_UNUSED_POSITIONS} are no positions")
    return rows - _UNUSED_POSITIONS


def _agreed(shapes: Shapes, pattern: str, axis: int, told: Any) -> int:
    """Return a size that several tensors share; if they disagree, that of the config, or else the most common one.

    The tensors with another size are reported with all other misshapen ones.
    """
    shared = (shape for name, shape in shapes.items() if re.fullmatch(pattern, name))
    counts = Counter(shape[axis] for shape in shared if shape and all(shape))
    known = type(told) is int and told > 0
    if counts and not (known and told in counts):
        return counts.most_common(1)[0][0]
    if not known:
        raise CheckpointError(f"wrong tensors: there is none like {pattern}")
    return int(told)


def _dim(shapes: Shapes, name: str, axis: int, fallback: Any) -> int:
    """Return a size of a tensor; if it is missing, a fallback, until all missing tensors are reported at once."""
    shape = shapes.get(name, ())
    if len(shape) > axis and shape[axis]:
        return shape[axis]
    if type(fallback) is not int or fallback < 1:
        raise CheckpointError(f"wrong tensors (1): {'misshapen' if name in shapes else 'missing'}: {name}")
    return fallback


def _count(shapes: Shapes, pattern: str) -> int:
    return len({match.group(1) for name in shapes if (match := re.match(pattern, name))})
