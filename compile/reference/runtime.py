"""Run the PyTorch reference behind the contract of an engine, to compare engines with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from f2edge.compile.export.graphs import NUM_CANDIDATES
from f2edge.decoding.session import StepScores
from f2edge.decoding.stopping import NEVER

if TYPE_CHECKING:
    from torch import Tensor

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.compile.reference.bart import KeyValue
    from f2edge.compile.reference.model import ReferenceModel
    from f2edge.decoding.stopping import StopSignal


class TorchRuntime:
    """The reference model as a :class:`f2edge.engine.Runtime`, in its own dtype, on the CPU."""

    device = "torch"

    def __init__(self, model: ReferenceModel) -> None:
        self.model = model

    @property
    def threads(self) -> int:
        """The number of threads that torch computes with."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def encode_image(self, pixel_values: FloatArray, signal: StopSignal = NEVER) -> Tensor:
        """Encode pixels (1, 3, H, W) to image features; once begun, this goes on to its end."""
        signal.raise_if_requested()
        return self.model.encode_image(torch.from_numpy(pixel_values))

    @torch.inference_mode()
    def start(self, features: Tensor, prompt_ids: IntArray, signal: StopSignal = NEVER) -> TorchSession:
        """Run the encoder; once begun, this goes on to its end."""
        signal.raise_if_requested()
        states = self.model.encode(features, torch.from_numpy(prompt_ids)[None])
        return TorchSession(self.model, self.model.decoder.cross_key_values(states))

    def features_to_host(self, features: Tensor) -> FloatArray:
        """Return an array that shares the memory of the features."""
        return features.numpy()

    def features_from_host(self, features: FloatArray) -> Tensor:
        """Return a tensor that shares the memory of the array."""
        return torch.from_numpy(features)


class TorchSession:
    """The decoder of one answer; ``cross_mask`` hides the padding of a prompt from a batch."""

    def __init__(self, model: ReferenceModel, cross: list[KeyValue], cross_mask: Tensor | None = None) -> None:
        self._model = model
        self._cross = cross
        self._cross_mask = cross_mask
        self._past: list[KeyValue] | None = None
        self._position = 0

    @torch.inference_mode()
    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the last token of each beam, reorder their keys and values, and score the next tokens."""
        beams = torch.from_numpy(beam_indices)
        past = self._past and [(key[beams], value[beams]) for key, value in self._past]
        position = torch.tensor([self._position])
        logits, self._past = self._model.step(
            torch.from_numpy(tokens)[:, None], position, past, self._cross, self._cross_mask
        )
        self._position += 1
        candidates = torch.topk(logits, min(NUM_CANDIDATES, logits.shape[-1]))
        return StepScores(
            token_ids=candidates.indices.numpy(),
            logits=candidates.values.numpy(),
            log_sum_exp=logits.logsumexp(-1).numpy(),
            fetch_logits=logits.numpy,
        )

    def cross_key_values(self) -> list[FloatArray]:
        """Return the keys and values of the cross-attention."""
        return [np.asarray(tensor) for pair in self._cross for tensor in pair]
