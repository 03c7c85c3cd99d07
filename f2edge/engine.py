"""The contract of an engine: what the core needs of it.  Runtimes implement it, and the core imports none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

from f2edge.decoding.session import BatchSession, DecoderSession
from f2edge.decoding.stopping import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.stopping import StopSignal

Features: TypeAlias = Any
"""Features of one image in the engine's own form, perhaps on its device.  They serve any number of prompts, and later
images do not change them."""


class PromptSession(DecoderSession, Protocol):
    """The decoder of one image and one prompt, with the keys and values of its beams."""

    def cross_key_values(self) -> list[FloatArray]:
        """Copy the cross-attention's keys and values to the host.

        Returns:
            Key and value of each layer in turn, each (1, heads, tokens, head_dim) float32.
        """
        ...


class Runtime(Protocol):
    """One bundle on its devices.

    Every method returns when its work is done, so the time of a call is the time of the work.  Methods raise
    :class:`~f2edge.errors.DeviceError` if the device fails.
    """

    @property
    def device(self) -> str:
        """The device that the bundle runs on, or the devices, as :class:`f2edge.placement.Placement` writes them."""
        ...

    @property
    def threads(self) -> int | None:
        """The number of CPU threads that one worker computes with; None if the engine does not report it."""
        ...

    def encode_image(self, pixel_values: FloatArray, signal: StopSignal = NEVER) -> Features:
        """Encode an image.

        Args:
            pixel_values: (1, 3, H, W) float32, normalised.
            signal: stops the engine within a few of the graph's operators, where the engine can be stopped.

        Raises:
            StopRequestedError: the signal asked to stop.
        """
        ...

    def start(self, features: Features, prompt_ids: IntArray, signal: StopSignal = NEVER) -> PromptSession:
        """Encode image features and a prompt, and return a decoder at position 0.

        Args:
            features: what :meth:`encode_image` returned.
            prompt_ids: (tokens,) int64.
            signal: as in :meth:`encode_image`.

        Raises:
            LimitError: the prompt is longer than the engine has room for.
            StopRequestedError: the signal asked to stop.
        """
        ...

    def features_to_host(self, features: Features) -> FloatArray:
        """Copy image features to an array (1, tokens, d_model) float32."""
        ...

    def features_from_host(self, features: FloatArray) -> Features:
        """Make image features of an array (1, tokens, d_model) float32; the inverse of :meth:`features_to_host`."""
        ...


class BatchRuntime(Runtime, Protocol):
    """A runtime that may decode the answers to several questions in one step."""

    @property
    def takes_batches(self) -> bool:
        """Whether the graphs of its bundle do so; those of fixed shapes do not."""
        ...

    def start_many(self, questions: Sequence[tuple[Features, IntArray]], signal: StopSignal = NEVER) -> BatchSession:
        """Encode several questions, and return a decoder of all at position 0.

        Args:
            questions: image features and prompt of each, as for :meth:`start`.
            signal: as in :meth:`encode_image`.

        Raises:
            LimitError: a prompt is longer than the engine has room for.
            StopRequestedError: the signal asked to stop.
        """
        ...


class BackboneRuntime(Protocol):
    """One backbone bundle on its device; any thread may call it."""

    @property
    def device(self) -> str:
        """The device that the bundle runs on, by the engine's name."""
        ...

    @property
    def threads(self) -> int | None:
        """The number of CPU threads that it computes with; None if the engine does not report it."""
        ...

    def maps(self, pixel_values: FloatArray) -> dict[str, FloatArray]:
        """Compute the map of each level.

        Args:
            pixel_values: (1, 3, H, W) float32, normalised, of a size that the graph takes.

        Returns:
            By the name of the level, (1, C, H / stride, W / stride) float32; later calls do not change them.

        Raises:
            DeviceError: the device failed.
        """
        ...


def takes_batches(runtime: Runtime) -> TypeGuard[BatchRuntime]:
    """Tell whether a runtime decodes the answers to several questions in one step."""
    return getattr(runtime, "takes_batches", False)
