"""Translate the two layouts of tensor names in checkpoints (docs/florence2.md#checkpoint-layouts)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, TypeAlias

from f2edge.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from torch import Tensor

Layout: TypeAlias = Literal["microsoft", "transformers"]

_BLOCK = r"vision_tower\.blocks\.(\d+)\.(\d+)\."
_MICROSOFT: tuple[tuple[str, str], ...] = (
    (r"^vision_tower\.convs\.(\d+)\.proj\.", r"vision_tower.convs.\1.conv."),
    (rf"^{_BLOCK}(\w+_block)\.(conv[12])\.fn\.dw\.", r"vision_tower.blocks.\1.\2.\3.\4."),
    (rf"^{_BLOCK}(\w+_block)\.(\w+_attn)\.fn\.", r"vision_tower.blocks.\1.\2.\3.\4."),
    (rf"^{_BLOCK}(\w+_block)\.\w+_attn\.norm\.", r"vision_tower.blocks.\1.\2.\3.norm1."),
    (rf"^{_BLOCK}(\w+_block)\.ffn\.norm\.", r"vision_tower.blocks.\1.\2.\3.norm2."),
    (rf"^{_BLOCK}(\w+_block)\.ffn\.fn\.net\.", r"vision_tower.blocks.\1.\2.\3.ffn."),
    (r"^image_projection$", "multi_modal_projector.image_projection.weight"),
    (r"^image_proj_norm\.", "multi_modal_projector.image_proj_norm."),
    (r"^image_pos_embed\.", "multi_modal_projector.image_position_embed."),
    (r"^visual_temporal_embed\.", "multi_modal_projector.visual_temporal_embed."),
    (r"^language_model\.model\.", ""),
    (r"^language_model\.", ""),
)
_TEXT = r"(shared|encoder|decoder|final_logits_bias)\b"
_TO_TRANSFORMERS: tuple[tuple[str, str], ...] = (
    (rf"^{_TEXT}", r"model.language_model.\1"),
    (r"^(vision_tower|multi_modal_projector)\.", r"model.\1."),
)
_TRANSFORMERS: tuple[tuple[str, str], ...] = (
    (r"^model\.language_model\.", ""),
    (r"^model\.", ""),
)
_TO_MICROSOFT: tuple[tuple[str, str], ...] = (
    (r"^vision_tower\.convs\.(\d+)\.conv\.", r"vision_tower.convs.\1.proj."),
    (rf"^{_BLOCK}(\w+_block)\.(conv[12])\.", r"vision_tower.blocks.\1.\2.\3.\4.fn.dw."),
    (rf"^{_BLOCK}(\w+_block)\.(\w+_attn)\.", r"vision_tower.blocks.\1.\2.\3.\4.fn."),
    (rf"^{_BLOCK}spatial_block\.norm1\.", r"vision_tower.blocks.\1.\2.spatial_block.window_attn.norm."),
    (rf"^{_BLOCK}channel_block\.norm1\.", r"vision_tower.blocks.\1.\2.channel_block.channel_attn.norm."),
    (rf"^{_BLOCK}(\w+_block)\.norm2\.", r"vision_tower.blocks.\1.\2.\3.ffn.norm."),
    (rf"^{_BLOCK}(\w+_block)\.ffn\.(fc[12])\.", r"vision_tower.blocks.\1.\2.\3.ffn.fn.net.\4."),
    (r"^multi_modal_projector\.image_projection\.weight$", "image_projection"),
    (r"^multi_modal_projector\.image_proj_norm\.", "image_proj_norm."),
    (r"^multi_modal_projector\.image_position_embed\.", "image_pos_embed."),
    (r"^multi_modal_projector\.visual_temporal_embed\.", "visual_temporal_embed."),
    (r"^(shared|encoder|decoder)\.", r"language_model.model.\1."),
    (r"^(final_logits_bias|lm_head\.weight)$", r"language_model.\1"),
)
HEAD = "lm_head.weight"
DECODER_EMBEDDING = "decoder.embed_tokens.weight"
_TIED = ("shared.weight", "encoder.embed_tokens.weight", DECODER_EMBEDDING)


def detect(names: Iterable[str]) -> Layout:
    """Tell which layout tensor ``names`` follow.

    Raises:
        CheckpointError: they follow neither.
    """
    names = list(names)
    if any(name.startswith("vision_tower.") for name in names):
        return "microsoft"
    if any(name.startswith("model.vision_tower.") for name in names):
        return "transformers"
    raise CheckpointError(
        "no tensor is named vision_tower.* or model.vision_tower.*: this is not a Florence-2 checkpoint"
    )


def to_reference(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names of the reference model, with one embedding instead of its tied aliases.

    A head whose values differ is kept: it has weights of its own (docs/florence2.md#tied-embedding).

    Raises:
        CheckpointError: the layout is unknown, two names mean one tensor, or aliases of the embedding differ.
    """
    layout = detect(tensors)
    rules = _MICROSOFT if layout == "microsoft" else _TRANSFORMERS
    sources: dict[str, str] = {}
    for name in tensors:
        if (other := sources.setdefault(_rename(name, rules), name)) != name:
            raise CheckpointError(f"{other} and {name} are the same tensor of two layouts")
    named = {name: tensors[source] for name, source in sources.items()}
    projection = named.get("multi_modal_projector.image_projection.weight")
    if layout == "microsoft" and projection is not None and projection.dim() == 2:  # noqa: PLR2004
        named["multi_modal_projector.image_projection.weight"] = projection.T  # Microsoft multiplies from the right
    return _untie(named)


def file_name(name: str, layout: Layout) -> str:
    """Return the name in a file of this layout of a tensor of the reference model."""
    return _rename(name, _TO_MICROSOFT if layout == "microsoft" else _TO_TRANSFORMERS)


def of_either(name: str, known: Container[str]) -> str | None:
    """Return the reference name of a tensor whose name is in the layout of either model, if it is ``known``."""
    renamed = (_rename(name, rules) for rules in (_MICROSOFT, _TRANSFORMERS))
    return next((other for other in renamed if other in known), None)


def with_aliases(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add the names under which a model also has its embedding, the head included, to tensors of reference names."""
    shared = named.get("shared.weight")
    if shared is None:
        return dict(named)
    return {**dict.fromkeys(_TIED, shared), HEAD: named.get(DECODER_EMBEDDING, shared), **named}


def without_aliases(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo :func:`with_aliases`: keep the decoder's embedding and the head only if they have values of their own.

    The alias of the encoder goes in any case: the encoder gets the embeddings of prompts ready-made.
    """
    kept = {name: tensor for name, tensor in named.items() if name not in (*_TIED[1:], HEAD)}
    table = named["shared.weight"]
    for name in (DECODER_EMBEDDING, HEAD):
        if not _equal(named[name], table):
            table = kept[name] = named[name]
    return kept


def to_microsoft(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names of Microsoft, as ``model.safetensors`` of 2025 has them.

    There is an ``lm_head`` only if the head has weights of its own.
    """
    renamed = {_rename(name, _TO_MICROSOFT): tensor for name, tensor in state.items()}
    renamed["image_projection"] = renamed["image_projection"].T.contiguous()
    return renamed


def _rename(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        renamed, count = re.subn(pattern, replacement, name)
        if count:
            return renamed
    return name


def _untie(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep one of the names of the embedding, of which a file may hold any, and the head only if it differs."""
    head = named.pop(HEAD, None)
    aliases = {name: named.pop(name) for name in _TIED if name in named}
    if head is None and not aliases:
        return named
    if not aliases:
        return {**named, "shared.weight": head}  # type: ignore[dict-item]
    first, *others = aliases
    differing = [name for name in others if not _equal(aliases[name], aliases[first])]
    if differing:
        raise CheckpointError(f"{', '.join(differing)} should be tied to {first}, but the values differ")
    own = {} if head is None or _equal(head, aliases[first]) else {HEAD: head}
    return {**named, "shared.weight": aliases[first], **own}


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and (a.data_ptr() == b.data_ptr() or bool((a == b).all()))
