"""The ranges of shapes that TensorRT engines are built for; model geometry and generation settings decide them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.geometry import Geometry

Shape: TypeAlias = "tuple[int, ...]"

MAX_BEAMS = 8
"""Largest number of beams in the profile: the decoder's 32 candidates cover 8 beams.  A bundle whose default is higher
raises it."""

_USUAL_PROMPT = 12
"""Tokens of a task's sentence, with its begin and end tokens."""
_USUAL_PAST = 24
"""Tokens decoded so far."""


class Range(NamedTuple):
    """The smallest shape of an input, the one that kernels are chosen for, and the largest."""

    smallest: Shape
    usual: Shape
    largest: Shape


Profile: TypeAlias = "dict[str, Range]"
"""The range of each input whose shape varies, by the input's name."""


def profiles(geometry: Geometry, generation: GenerationSettings) -> dict[str, Profile]:
    """Make one optimization profile for each component.

    There are 1 to :data:`MAX_BEAMS` beams, prompts of up to as many tokens as fit beside the image, and answers of up
    to ``max_new_tokens`` of the bundle.  At the first step the past is empty: TensorRT accepts tensors without
    elements as long as they have an address.
    """
    usual = min(_USUAL_PROMPT, geometry.max_prompt_tokens)
    prompt = Range((1, 1), (1, usual), (1, geometry.max_prompt_tokens))
    return {"vision": {}, "encoder": {"input_ids": prompt}, "decoder": _decoder(geometry, generation, prompt)}


def _decoder(geometry: Geometry, generation: GenerationSettings, prompt: Range) -> Profile:
    most_beams, longest_past = max(MAX_BEAMS, generation.num_beams), generation.max_new_tokens - 1
    beams = Range((1,), (generation.num_beams,), (most_beams,))
    heads, width = geometry.decoder_attention_heads, geometry.decoder_head_dim
    lengths = (0, min(_USUAL_PAST, longest_past), longest_past)
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
