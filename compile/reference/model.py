"""Florence-2 (Xiao et al., CVPR 2024): the tower, the projector and BART, whose head mostly is its embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from f2edge.compile.reference.bart import Decoder, Encoder, KeyValue
from f2edge.compile.reference.davit import DaViT
from f2edge.compile.reference.projector import MultiModalProjector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from f2edge.geometry import Geometry

IGNORE_INDEX = -100
DECODER_START = 2
PAD = 1


class Output(NamedTuple):
    """Logits (batch, tokens, vocab), and the loss if labels were given."""

    logits: Tensor
    loss: Tensor | None


class ReferenceModel(nn.Module):
    """The whole model; its parts are methods, since each becomes a graph of its own.

    Args:
        geometry: its sizes.
        own_head: whether the head has weights of its own, in place of those of the decoder's embedding.
        own_decoder_embedding: whether the decoder embeds tokens by a table of its own.
    """

    final_logits_bias: Tensor

    def __init__(self, geometry: Geometry, *, own_head: bool = False, own_decoder_embedding: bool = False) -> None:
        super().__init__()
        self.geometry = geometry
        self.vision_tower = DaViT(geometry.vision)
        self.multi_modal_projector = MultiModalProjector(geometry)
        self.shared = nn.Embedding(geometry.vocab_size, geometry.d_model)
        self.encoder = Encoder(geometry)
        self.decoder = Decoder(geometry, own_embedding=own_decoder_embedding)
        self.lm_head = nn.Linear(geometry.d_model, geometry.vocab_size, bias=False) if own_head else None
        self.register_buffer("final_logits_bias", torch.zeros(1, geometry.vocab_size))

    def mix_channels(self, convolutions: Iterable[str]) -> None:
        """Give the named depthwise convolutions a weight (C, C, height, width) in place of (C, 1, height, width)."""
        for name in convolutions:
            convolution = self.get_submodule(name)
            assert isinstance(convolution, nn.Conv2d)
            wide = (convolution.out_channels, convolution.in_channels, *convolution.kernel_size)
            convolution.groups, convolution.weight = 1, nn.Parameter(convolution.weight.new_empty(wide))

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Encode pixels (B, 3, H, W) to image features (B, 1 + h * w, d_model)."""
        return self.multi_modal_projector(self.vision_tower(pixel_values))  # type: ignore[no-any-return]

    def encode(self, image_features: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Encode image features and prompt (B, L) to encoder states (B, image tokens + L, d_model).

        ``attention_mask`` (B, L), 1 for tokens and 0 for padding, masks the prompt; the image is never masked.  Without
        a mask nothing is, as in the code of Microsoft.
        """
        embeddings = torch.cat([image_features, self.shared(input_ids)], 1)
        return self.encoder(embeddings, self.additive_mask(attention_mask))  # type: ignore[no-any-return]

    def additive_mask(self, attention_mask: Tensor | None) -> Tensor | None:
        """Convert the mask (B, L) of a prompt to the term (B, 1, 1, image + L) that is added to attention scores."""
        if attention_mask is None:
            return None
        seen = F.pad(attention_mask.bool(), (self.geometry.num_image_tokens, 0), value=True)
        lowest = torch.finfo(self.shared.weight.dtype).min
        return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, lowest)[:, None, None]

    @property
    def answer_embedding(self) -> nn.Embedding:
        """The table that embeds tokens of the answer: that of prompts unless the decoder has its own."""
        return self.decoder.embed_tokens or self.shared

    def head(self, states: Tensor) -> Tensor:
        """Map decoder states to logits, by the embedding of answers unless the head has weights of its own."""
        weight = (self.lm_head or self.answer_embedding).weight
        return F.linear(states, weight) + self.final_logits_bias

    def step(
        self,
        input_ids: Tensor,
        position: Tensor,
        past: list[KeyValue] | None,
        cross: list[KeyValue],
        cross_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """Decode one token (beams, 1) at ``position`` (1,) after ``past``: logits (beams, vocab), keys and values."""
        states, present = self.decoder(self.answer_embedding(input_ids), position, past, cross, None, cross_mask)
        return self.head(states[:, -1]), present

    def decode(self, encoder_states: Tensor, decoder_input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Decode all tokens (B, T) at once, each seeing those before it: logits (B, T, vocab)."""
        T = decoder_input_ids.shape[1]
        positions = torch.arange(T, device=decoder_input_ids.device)
        causal = torch.full((T, T), torch.finfo(torch.float32).min, device=positions.device).triu(1)
        cross = self.decoder.cross_key_values(encoder_states)
        cross_mask = self.additive_mask(attention_mask)
        embeddings = self.answer_embedding(decoder_input_ids)
        states, _ = self.decoder(embeddings, positions, None, cross, causal, cross_mask)
        return self.head(states)

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Output:
        """Run with teacher forcing; with ``labels`` (B, T) also return the cross-entropy.

        It is -sum log P(y_i | y_<i, x) (equation 1 of the paper), as the mean over the labels that are not -100.
        ``decoder_input_ids`` default to the shifted labels.

        Raises:
            ValueError: neither labels nor decoder_input_ids were given.
        """
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError("give labels or decoder_input_ids")
            decoder_input_ids = shift_right(labels)
        states = self.encode(self.encode_image(pixel_values), input_ids, attention_mask)
        logits = self.decode(states, decoder_input_ids, attention_mask)
        if labels is None:
            return Output(logits, None)
        return Output(logits, F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten()))


def shift_right(labels: Tensor) -> Tensor:
    """Return the decoder inputs (B, T) that predict ``labels``: the start token first, the last label dropped."""
    start = labels.new_full((labels.shape[0], 1), DECODER_START)
    shifted = torch.cat([start, labels[:, :-1]], 1)
    return shifted.masked_fill(shifted == IGNORE_INDEX, PAD)
