"""The PyTorch reference behind the engines' contract: what the others are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from f2edge.compile.export.graphs import NUM_CANDIDATES
from f2edge.decoding.session import StepScores

if TYPE_CHECKING:
    from torch import Tensor

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.compile.reference.bart import KeyValue
    from f2edge.compile.reference.model import ReferenceModel


class TorchRuntime:
    """The contract of :class:`f2edge.engine.Runtime` over the reference itself, in its dtype, on the CPU."""

    device = "torch"

    def __init__(self, model: ReferenceModel) -> None:
        self.model = model

    @property
    def threads(self) -> int:
        """Threads that torch computes with."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def encode_image(self, pixel_values: FloatArray) -> Tensor:
        """Pixels (1, 3, H, W) to image features."""
        return self.model.encode_image(torch.from_numpy(pixel_values))

    @torch.inference_mode()
    def start(self, features: Tensor, prompt_ids: IntArray) -> TorchSession:
        """Run the encoder."""
        states = self.model.encode(features, torch.from_numpy(prompt_ids)[None])
        return TorchSession(self.model, self.model.decoder.cross_key_values(states))

    def features_to_host(self, features: Tensor) -> FloatArray:
        """The same memory as an array."""
        return features.numpy()

    def features_from_host(self, features: FloatArray) -> Tensor:
        """The same memory as a tensor."""
        return torch.from_numpy(features)


class TorchSession:
    """One answer being decoded; ``cross_mask`` hides the padding of a prompt that stood in a batch."""

    def __init__(self, model: ReferenceModel, cross: list[KeyValue], cross_mask: Tensor | None = None) -> None:
        self._model = model
        self._cross = cross
        self._cross_mask = cross_mask
        self._past: list[KeyValue] | None = None
        self._position = 0

    @torch.inference_mode()
    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens, reorder what they saw, and give the scores of the next ones."""
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
        """The cross-attention's keys and values."""
        return [np.asarray(tensor) for pair in self._cross for tensor in pair]
