"""Encoder and decoder of BART (Lewis et al., 2020) as Florence-2 uses them (docs/florence2.md#language-model)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from f2edge.geometry import Geometry

KeyValue: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values of one layer, each (batch, heads, tokens, head_dim)."""

POSITION_OFFSET = 2
"""The position tables of BART begin with two rows that no position uses."""


class Attention(nn.Module):
    """Multi-head attention over keys and values that are computed once."""

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (d_model // num_heads) ** -0.5
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.q_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)

    def key_value(self, states: Tensor) -> KeyValue:
        """Return the keys and values of ``states`` (batch, tokens, d_model)."""
        return self._heads(self.k_proj(states)), self._heads(self.v_proj(states))

    def forward(self, states: Tensor, key_value: KeyValue, mask: Tensor | None = None) -> Tensor:
        """Attend from ``states`` (batch, queries, d_model) to ``key_value``.

        ``mask`` is added to the scores and broadcasts over (batch, heads, queries, tokens).
        """
        return self._attend(self._heads(self.q_proj(states) * self.scale), key_value, mask)

    def _attend(self, query: Tensor, key_value: KeyValue, mask: Tensor | None) -> Tensor:
        key, value = key_value
        scores = query @ key.transpose(-1, -2)
        weights = (scores if mask is None else scores + mask).softmax(-1)
        mixed = (weights @ value).transpose(1, 2)
        # An ONNX graph computes the shape of a flattened tensor at run time; it knows that of a reshaped one.
        return self.out_proj(mixed.reshape(*mixed.shape[:2], -1))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        batch, tokens, d_model = x.shape
        return x.reshape(batch, tokens, self.num_heads, d_model // self.num_heads).transpose(1, 2)


class CachedAttention(Attention):
    """Self-attention of tokens that come one by one or all at once, with a cache of keys and values."""

    def forward(  # type: ignore[override]
        self, states: Tensor, remember: Callable[[KeyValue], KeyValue], mask: Tensor | None
    ) -> tuple[Tensor, KeyValue]:
        """Attend from ``states`` (batch, tokens, d_model) to all keys and values so far; return these, too.

        ``remember`` adds the keys and values of ``states`` to those of the tokens before.
        """
        query, key, value = self._query_key_value(states)
        key_value = remember((key, value))
        return self._attend(query, key_value, mask), key_value

    def _query_key_value(self, states: Tensor) -> tuple[Tensor, ...]:
        """Compute all three in one product: for a few tokens, starting a product costs much of its time."""
        parts = ((self.q_proj, self.scale), (self.k_proj, 1.0), (self.v_proj, 1.0))
        weight = torch.cat([part.weight * scale for part, scale in parts])
        bias = torch.cat([part.bias * scale for part, scale in parts])
        return tuple(self._heads(part) for part in F.linear(states, weight, bias).chunk(3, -1))


class _FeedForward(nn.Module):
    """The feed-forward half of every layer; a base class, so that names equal those of the checkpoints."""

    def __init__(self, d_model: int, ffn_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d_model, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, d_model)
        self.final_layer_norm = nn.LayerNorm(d_model)

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.final_layer_norm(x + self.fc2(F.gelu(self.fc1(x))))  # type: ignore[no-any-return]


class EncoderLayer(_FeedForward):
    """Self-attention and feed-forward."""

    def __init__(self, d_model: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__(d_model, ffn_dim)
        self.self_attn = Attention(d_model, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(d_model)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (batch, tokens, d_model) to the same shape."""
        x = self.self_attn_layer_norm(x + self.self_attn(x, self.self_attn.key_value(x), mask))
        return self.feed_forward(x)


class DecoderLayer(EncoderLayer):
    """Causal self-attention, cross-attention over the encoder states, and feed-forward."""

    def __init__(self, d_model: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__(d_model, num_heads, ffn_dim)
        self.self_attn = CachedAttention(d_model, num_heads)
        self.encoder_attn = Attention(d_model, num_heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(d_model)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        past: KeyValue | None,
        cross: KeyValue,
        mask: Tensor | None,
        cross_mask: Tensor | None,
    ) -> tuple[Tensor, KeyValue]:
        """Return states (batch, tokens, d_model) and the self-attention keys and values, ``past`` included."""
        attended, present = self.self_attn(x, partial(_append, past), mask)
        x = self.self_attn_layer_norm(x + attended)
        x = self.encoder_attn_layer_norm(x + self._cross(x, cross, cross_mask))
        return self.feed_forward(x), present

    def _cross(self, x: Tensor, cross: KeyValue, mask: Tensor | None) -> Tensor:
        """Attend with all beams of one image as queries of one attention, so that its keys and values are read once."""
        queries = x.reshape(cross[0].shape[0], -1, x.shape[-1])
        return self.encoder_attn(queries, cross, mask).reshape(x.shape)  # type: ignore[no-any-return]


def _append(past: KeyValue | None, new: KeyValue) -> KeyValue:
    return (torch.cat([past[0], new[0]], 2), torch.cat([past[1], new[1]], 2)) if past else new


class Encoder(nn.Module):
    """Encode embeddings (batch, tokens, d_model), image features first, to states of the same shape."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        d, heads, ffn = geometry.d_model, geometry.encoder_attention_heads, geometry.encoder_ffn_dim
        self.embed_positions = nn.Embedding(geometry.encoder_positions + POSITION_OFFSET, d)
        self.layernorm_embedding = nn.LayerNorm(d)
        self.layers = nn.ModuleList(EncoderLayer(d, heads, ffn) for _ in range(geometry.encoder_layers))

    def forward(self, embeddings: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode; ``mask`` (batch, 1, 1, tokens) is added to the attention scores."""
        positions = torch.arange(embeddings.shape[1], device=embeddings.device) + POSITION_OFFSET
        x = self.layernorm_embedding(embeddings + self.embed_positions(positions))
        for layer in self.layers:
            x = layer(x, mask)
        return x  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Decode embeddings of the answer so far to states, with the cross-attention keys and values of each layer."""

    def __init__(self, geometry: Geometry, *, own_embedding: bool = False) -> None:
        super().__init__()
        d, heads, ffn = geometry.d_model, geometry.decoder_attention_heads, geometry.decoder_ffn_dim
        self.embed_tokens = nn.Embedding(geometry.vocab_size, d) if own_embedding else None
        self.embed_positions = nn.Embedding(geometry.decoder_positions + POSITION_OFFSET, d)
        self.layernorm_embedding = nn.LayerNorm(d)
        self.layers = nn.ModuleList(DecoderLayer(d, heads, ffn) for _ in range(geometry.decoder_layers))

    def cross_key_values(self, encoder_states: Tensor) -> list[KeyValue]:
        """Return the cross-attention keys and values of each layer, computed once for an answer."""
        return [layer.encoder_attn.key_value(encoder_states) for layer in self.layers]  # type: ignore[union-attr,operator]

    def forward(
        self,
        embeddings: Tensor,
        positions: Tensor,
        past: list[KeyValue] | None,
        cross: list[KeyValue],
        mask: Tensor | None = None,
        cross_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """Return states (batch, tokens, d_model), and the keys and values to give as ``past`` at the next step.

        ``positions`` (tokens,) count from 0; ``mask`` (tokens, past + tokens) is added to the self-attention scores.
        """
        x = self.layernorm_embedding(embeddings + self.embed_positions(positions + POSITION_OFFSET))
        presents = []
        for i, layer in enumerate(self.layers):
            x, present = layer(x, past[i] if past else None, cross[i], mask, cross_mask)
            presents.append(present)
        return x, presents
