"""Run graphs of fixed shapes behind the contract of an engine: pad shorter inputs and cut the padding off outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from f2edge.bundle.limits import PADDING
from f2edge.decoding.stopping import NEVER
from f2edge.errors import LimitError

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.limits import Limits
    from f2edge.decoding.session import StepScores
    from f2edge.decoding.stopping import StopSignal
    from f2edge.engine import Features, PromptSession, Runtime


class StaticRuntime:
    """The contract of :class:`f2edge.engine.Runtime` over an engine whose encoder and decoder have fixed shapes.

    Args:
        runtime: the engine.
        shapes: the beams, prompt tokens and new tokens that its graphs have room for.
    """

    def __init__(self, runtime: Runtime, shapes: Limits) -> None:
        self._runtime = runtime
        self._shapes = shapes
        self.encode_image = runtime.encode_image
        self.features_to_host = runtime.features_to_host
        self.features_from_host = runtime.features_from_host

    @property
    def device(self) -> str:
        """The engine's device."""
        return self._runtime.device

    @property
    def threads(self) -> int | None:
        """The engine's number of threads."""
        return self._runtime.threads

    def start(self, features: Features, prompt_ids: IntArray, signal: StopSignal = NEVER) -> StaticSession:
        """Pad a prompt (tokens,) and encode it together with the image.

        Raises:
            LimitError: the prompt is longer than the graphs have room for.
        """
        room = self._shapes.prompt_tokens
        if len(prompt_ids) > room:
            raise LimitError(f"the prompt has {len(prompt_ids)} tokens, this bundle takes {room}; shorten the text")
        padded = np.full(room, PADDING, np.int64)
        padded[: len(prompt_ids)] = prompt_ids
        return StaticSession(self._runtime.start(features, padded, signal), self._shapes, room - len(prompt_ids))


class StaticSession:
    """One answer that is being decoded; unused rows of the graph repeat the last beam.

    Args:
        session: the engine's session.
        shapes: what the graphs have room for.
        padding: number of padding tokens after the prompt.
    """

    def __init__(self, session: PromptSession, shapes: Limits, padding: int) -> None:
        self._session = session
        self._shapes = shapes
        self._padding = padding
        self._steps = 0

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens (beams,), with rows to fill the graph, and return the scores of the beams.

        Raises:
            LimitError: there are more beams, or this is a later step, than the graph has room for.
        """
        beams = len(tokens)
        self._check(beams)
        self._steps += 1
        rows = np.minimum(np.arange(self._shapes.num_beams), beams - 1)
        scores = self._session.step(tokens[rows], beam_indices[rows])
        return replace(
            scores,
            token_ids=scores.token_ids[:beams],
            logits=scores.logits[:beams],
            log_sum_exp=scores.log_sum_exp[:beams],
            fetch_logits=lambda: scores.fetch_logits()[:beams],
        )

    def cross_key_values(self) -> list[FloatArray]:
        """Copy the cross-attention's keys and values without the padding, and without the mask, which may come last."""
        tensors = self._session.cross_key_values()
        key_values = tensors[: len(tensors) // 2 * 2]
        return [tensor[:, :, : tensor.shape[2] - self._padding].copy() for tensor in key_values]

    def _check(self, beams: int) -> None:
        shapes = self._shapes
        if beams > shapes.num_beams:
            raise LimitError(f"num_beams is {beams}; this bundle was compiled for at most {shapes.num_beams}")
        if self._steps >= shapes.new_tokens:
            raise LimitError(f"this bundle was compiled for answers of at most {shapes.new_tokens} tokens")
