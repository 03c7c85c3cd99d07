"""Encoder and decoder graphs of fixed shapes, for devices that take no others (NPUs; CUDA graphs).

They have the inputs and outputs of the dynamic graphs and one more: ``cross_mask``, which the encoder gives the decoder
together with the keys and values.  :mod:`f2edge.runtimes.fixed_shapes` pads shorter inputs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from f2edge.bundle.limits import LEAST_BEAMS, PROMPT_TOKENS, Limits
from f2edge.compile.export.graphs import NUM_CANDIDATES, EncoderGraph, Graph, graphs, layer_names, scores
from f2edge.compile.reference.bart import POSITION_OFFSET
from f2edge.errors import LimitError
from f2edge.runtimes.batches import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from f2edge.compile.reference.bart import DecoderLayer, KeyValue
    from f2edge.compile.reference.model import ReferenceModel
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.geometry import Geometry


class StaticEncoderGraph(EncoderGraph):
    """Map image_features and input_ids (1, P), negative where padded, to cross-attention keys, values and a mask."""

    def forward(self, image_features: Tensor, input_ids: Tensor) -> list[Tensor]:
        """Return keys and values in turn, each (1, heads, image tokens + P, head_dim), and a mask (1, 1, tokens, 1)."""
        embeddings = torch.cat([image_features, self.model.shared(input_ids.clamp(min=0))], 1)
        padded = nn.functional.pad(input_ids < 0, (image_features.shape[1], 0))
        mask = torch.where(padded, HIDDEN, 0.0)[:, None, None]
        states = self.model.encoder(embeddings, mask)
        flat = [tensor for pair in self.model.decoder.cross_key_values(states) for tensor in pair]
        return [*flat, mask.transpose(2, 3)]


class StaticDecoderGraph(nn.Module):
    """One decoder step that writes keys and values in place.

    ``past`` has room for all positions; those after ``position`` are masked, whatever they hold.
    """

    def __init__(self, model: ReferenceModel, num_candidates: int) -> None:
        super().__init__()
        self.model = model
        self.num_candidates = num_candidates

    def forward(
        self,
        input_ids: Tensor,
        position: Tensor,
        beam_idx: Tensor,
        past: list[Tensor],
        cross: list[Tensor],
        cross_mask: Tensor,
    ) -> list[Tensor]:
        """Return candidates, best first, log-sum-exp, all logits, then all keys and values, also of this step."""
        decoder = self.model.decoder
        slots = torch.arange(past[0].shape[2])
        here, mask = (slots == position)[:, None], torch.where(slots > position, HIDDEN, 0.0)
        embeddings = self.model.answer_embedding(input_ids[:, None]) + decoder.embed_positions(
            position + POSITION_OFFSET
        )
        x = decoder.layernorm_embedding(embeddings)
        present: list[Tensor] = []
        layers: list[DecoderLayer] = list(decoder.layers)  # type: ignore[arg-type]
        for index, layer in enumerate(layers):
            pair = slice(2 * index, 2 * index + 2)
            before = [tensor.index_select(0, beam_idx) for tensor in past[pair]]
            crossed = (cross[pair][0], cross[pair][1])
            x, now = _layer(layer, x, partial(_write, here, before), mask, crossed, cross_mask.transpose(2, 3))
            present += now
        return [*scores(self.model.head(x[:, -1]), self.num_candidates), *present]


def _write(here: Tensor, before: list[Tensor], new: KeyValue) -> KeyValue:
    """Return keys and values with the new ones in the slot where ``here`` (slots, 1) is true."""
    return torch.where(here, new[0], before[0]), torch.where(here, new[1], before[1])


def _layer(
    layer: DecoderLayer,
    x: Tensor,
    remember: Callable[[KeyValue], KeyValue],
    mask: Tensor,
    cross: KeyValue,
    cross_mask: Tensor,
) -> tuple[Tensor, KeyValue]:
    """Run a decoder layer; the beams are queries of one cross-attention."""
    attended, present = layer.self_attn(x, remember, mask)
    x = layer.self_attn_layer_norm(x + attended)
    seen = layer.encoder_attn(x.transpose(0, 1), cross, cross_mask).transpose(0, 1)
    return layer.feed_forward(layer.encoder_attn_layer_norm(x + seen)), present


def limits_of(num_beams: int | None, geometry: Geometry, settings: GenerationSettings) -> Limits:
    """Return the sizes of graphs of fixed shapes.

    Args:
        num_beams: the most beams; None for as many as the checkpoint searches with.
        geometry: the sizes of the model.
        settings: the settings of the checkpoint's searches.

    Raises:
        LimitError: the model cannot have so many beams.
    """
    prompt = min(PROMPT_TOKENS, geometry.max_prompt_tokens)
    limits = Limits(num_beams or max(settings.num_beams, LEAST_BEAMS), prompt, settings.max_new_tokens)
    if faults := limits.faults(geometry):
        raise LimitError("; ".join(faults))
    return limits


def static_graphs(model: ReferenceModel, shapes: Limits) -> dict[str, Graph]:
    """Return the three graphs of ``model`` by component; the shapes of the tower are fixed in any case."""
    vision = graphs(model)["vision"]
    return {"vision": vision, "encoder": _encoder(model, shapes), "decoder": _decoder(model, shapes)}


def _encoder(model: ReferenceModel, shapes: Limits) -> Graph:
    geometry = model.geometry
    inputs = {
        "image_features": torch.zeros(1, geometry.num_image_tokens, geometry.d_model),
        "input_ids": torch.zeros(1, shapes.prompt_tokens, dtype=torch.int64),
    }
    outputs = [*layer_names("cross", geometry.decoder_layers), "cross_mask"]
    return Graph(StaticEncoderGraph(model), inputs, dict.fromkeys(inputs), outputs)


def _decoder(model: ReferenceModel, shapes: Limits) -> Graph:
    geometry, beams = model.geometry, shapes.num_beams
    layers, heads, width = geometry.decoder_layers, geometry.decoder_attention_heads, geometry.decoder_head_dim
    states = geometry.num_image_tokens + shapes.prompt_tokens
    inputs = {
        "input_ids": torch.zeros(beams, dtype=torch.int64),
        "position": torch.zeros(1, dtype=torch.int64),
        "beam_idx": torch.zeros(beams, dtype=torch.int64),
        "past": [torch.zeros(beams, heads, shapes.new_tokens, width) for _ in range(2 * layers)],
        "cross": [torch.zeros(1, heads, states, width) for _ in range(2 * layers)],
        "cross_mask": torch.zeros(1, 1, states, 1),
    }
    fixed = {name: [None] * len(value) if isinstance(value, list) else None for name, value in inputs.items()}
    outputs = ["candidate_ids", "candidate_logits", "log_sum_exp", "logits", *layer_names("present", layers)]
    return Graph(StaticDecoderGraph(model, min(NUM_CANDIDATES, geometry.vocab_size)), inputs, fixed, outputs)
