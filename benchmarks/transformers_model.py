"""Contender: transformers' own Florence-2 on torch with SDPA attention, in fp32 or bf16, eager or compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from generating import Generating
from transformers import Florence2ForConditionalGeneration

from tests.support.native import native_config, native_inputs

if TYPE_CHECKING:
    from artefacts import Cache
    from torch import Tensor
    from workload import Workload


class TransformersModel(Generating):
    """Florence-2 of transformers with random weights.

    Args:
        workload: the model size and the lengths of the answers.
        cache: the cache that holds the photograph and the tokenizer.
        dtype: "float32" or "bfloat16".
        compiled: compile tower, encoder and decoder with ``torch.compile`` (inductor).
    """

    def __init__(self, workload: Workload, cache: Cache, dtype: str, *, compiled: bool = False) -> None:
        super().__init__(workload, cache, getattr(torch, dtype))
        config = native_config(workload.geometry)
        config._attn_implementation = "sdpa"
        torch.manual_seed(0)
        self.model = Florence2ForConditionalGeneration._from_config(config, dtype=self.dtype).eval()
        self._compiled = compiled
        if compiled:
            _compile(self.model.model)

    def warm_up(self) -> None:
        """Run a whole round first if compiled: inductor compiles whenever a part meets new shapes."""
        if self._compiled:
            self.measure()
        super().warm_up()

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Run ``get_image_features``."""
        features: Tensor = self.model.get_image_features(pixel_values).pooler_output
        return features

    def encode(self, features: Tensor, prompt: list[int]) -> Tensor:
        """Run the language model's encoder over image features and prompt."""
        language_model = self.model.model.language_model
        embeds = torch.cat([features, language_model.shared(torch.tensor([prompt]))], 1)
        states: Tensor = language_model.encoder(inputs_embeds=embeds).last_hidden_state
        return states

    def inputs(self, pixel_values: Tensor, prompt: list[int]) -> dict[str, Tensor]:
        """Return pixels and input ids, with placeholders for the image in front of the prompt."""
        return native_inputs(self.workload.geometry, pixel_values, prompt)


def _compile(model: Any) -> None:
    """Compile tower and encoder for fixed shapes, and the decoder for dynamic ones, since its past grows.

    All three share one decorator of transformers, and its variants exceed dynamo's default recompile limit.
    """
    torch._dynamo.config.recompile_limit = 64
    model.vision_tower.compile()
    model.language_model.encoder.compile()
    model.language_model.decoder.compile(dynamic=True)
