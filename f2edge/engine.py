"""What the core asks of an engine.  Runtimes implement it; the core imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from f2edge.decoding.session import DecoderSession

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray

Features: TypeAlias = Any
"""Image features as the engine keeps them, perhaps on its device: opaque, and good for any number of prompts."""


class PromptSession(DecoderSession, Protocol):
    """The decoder of one image and prompt, with the keys and values of its beams."""

    def cross_key_values(self) -> list[FloatArray]:
        """Keys and values of each layer's cross-attention, alternating, each (1, heads, tokens, head_dim)."""
        ...


class Runtime(Protocol):
    """One bundle opened on one device.  Every verb returns when its work is done, so a clock around it is right."""

    @property
    def device(self) -> str:
        """What the engine runs on, in its vendor's words."""
        ...

    @property
    def threads(self) -> int | None:
        """Threads that the engine computes with; None where it does not tell."""
        ...

    def encode_image(self, pixel_values: FloatArray) -> Features:
        """Pixels (1, 3, H, W), normalised, to image features."""
        ...

    def start(self, features: Features, prompt_ids: IntArray) -> PromptSession:
        """Encode image and prompt (tokens,) and return a decoder at position 0."""
        ...

    def features_to_host(self, features: Features) -> FloatArray:
        """Image features as an array (1, tokens, d_model)."""
        ...

    def features_from_host(self, features: FloatArray) -> Features:
        """Inverse of :meth:`features_to_host`."""
        ...
