"""The sizes that TensorRT engines are built for: they follow from the model's geometry and the bundle's limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.geometry import Geometry

Shape: TypeAlias = "tuple[int, ...]"

MAX_BEAMS = 8
"""Beams that the decoder's candidates suffice for; more only where a bundle's default asks for it."""

_USUAL_PROMPT = 12  # tokens of a task's sentence, its begin and end included
_USUAL_PAST = 24


class Range(NamedTuple):
    """The smallest shape of an input, the one that kernels are chosen for, and the largest."""

    smallest: Shape
    usual: Shape
    largest: Shape


Profile: TypeAlias = "dict[str, Range]"
"""By the name of an input whose shape varies."""


def profiles(geometry: Geometry, generation: GenerationSettings) -> dict[str, Profile]:
    """One optimization profile for each component.

    Beams go from 1 to :data:`MAX_BEAMS`, the prompt to the longest that fits beside the image, the answer to the
    bundle's ``max_new_tokens``.  The past is empty at the first step: TensorRT takes tensors without elements, as long
    as they have an address.
    """
    usual = min(_USUAL_PROMPT, geometry.max_prompt_tokens)
    prompt = Range((1, 1), (1, usual), (1, geometry.max_prompt_tokens))
    return {"vision": {}, "encoder": {"input_ids": prompt}, "decoder": _decoder(geometry, generation, prompt)}


def _decoder(geometry: Geometry, generation: GenerationSettings, prompt: Range) -> Profile:
    most, longest = max(MAX_BEAMS, generation.num_beams), generation.max_new_tokens - 1
    beams = Range((1,), (generation.num_beams,), (most,))
    heads, width = geometry.decoder_attention_heads, geometry.decoder_head_dim
    lengths = (0, min(_USUAL_PAST, longest), longest)
    past = Range(*((count, heads, length, width) for (count,), length in zip(beams, lengths, strict=True)))
    image = geometry.num_image_tokens
    cross = Range(*((1, heads, image + length, width) for _, length in prompt))
    layers = [f"{layer}.{part}" for layer in range(geometry.decoder_layers) for part in ("key", "value")]
    return {
        "input_ids": beams,
        "beam_idx": beams,
        **{f"past.{name}": past for name in layers},
        **{f"cross.{name}": cross for name in layers},
    }
