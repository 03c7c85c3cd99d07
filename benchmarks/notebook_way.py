"""Contender: OpenVINO's public Florence-2 notebook, its IRs driven by transformers' ``generate``.

The IRs run at OpenVINO's default precision, which is bf16 on a CPU that supports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import torch
from generating import Generating
from notebook_conversion import PARTS
from transformers import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.bart.modeling_bart import BartPreTrainedModel

from tests.support.native import native_config

if TYPE_CHECKING:
    from artefacts import Cache
    from torch import Tensor
    from workload import Workload


class NotebookWay(Generating):
    """The notebook's four IRs; encoder and decoder are wrapped in a :class:`_LanguageModel`."""

    def __init__(self, workload: Workload, cache: Cache) -> None:
        super().__init__(workload, cache, torch.float32)
        core, directory = ov.Core(), cache.get("notebook")
        compiled = {name: core.compile_model(directory / f"{name}.xml", "CPU") for name in PARTS}
        self._vision, self._embedding = compiled["vision"], compiled["text_embedding"]
        self.model = _LanguageModel(native_config(workload.geometry).text_config, compiled)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Run the vision IR."""
        return torch.from_numpy(self._vision(pixel_values.numpy())[0])

    def encode(self, features: Tensor, prompt: list[int]) -> Tensor:
        """Embed image and prompt, then run the encoder IR."""
        states: Tensor = self.model.encoder(inputs_embeds=self._embeds(features, prompt)).last_hidden_state
        return states

    def inputs(self, pixel_values: Tensor, prompt: list[int]) -> dict[str, Tensor]:
        """Return embeddings, as the notebook passes them to ``generate``."""
        return {"inputs_embeds": self._embeds(self.encode_image(pixel_values), prompt)}

    def _embeds(self, features: Tensor, prompt: list[int]) -> Tensor:
        words = self._embedding(np.array([prompt]))[0]
        return torch.from_numpy(np.concatenate([features.numpy(), words], 1))


class _Encoder:
    main_input_name = "inputs_embeds"

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()

    def __call__(self, inputs_embeds: Tensor, **_: Any) -> BaseModelOutput:
        states = self._request.infer([inputs_embeds.numpy()], share_inputs=True, share_outputs=True)[0]
        return BaseModelOutput(last_hidden_state=torch.from_numpy(states))

    def forward(self, inputs_embeds: Tensor) -> BaseModelOutput:
        """Encode; ``generate`` inspects this method's signature."""
        return self(inputs_embeds)


class _LanguageModel(BartPreTrainedModel, GenerationMixin):
    """Encoder and stateful decoder behind the interface of transformers' beam search; it has no weights."""

    main_input_name = "inputs_embeds"
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, config: Any, compiled: dict[str, Any]) -> None:
        super().__init__(config)
        self.encoder = _Encoder(compiled["encoder"])
        self._decoder = compiled["decoder"].create_infer_request()
        self._beam_idx = np.zeros(0, np.int32)

    def get_encoder(self, **_: Any) -> _Encoder:
        """Return the encoder IR."""
        return self.encoder

    def forward(
        self,
        decoder_input_ids: Tensor,
        encoder_outputs: BaseModelOutput,
        past_key_values: tuple[()] | None = None,
        **_: Any,
    ) -> Seq2SeqLMOutput:
        """Run one step; without a past a new answer begins."""
        if past_key_values is None:
            self._decoder.reset_state()
            self._beam_idx = np.arange(len(decoder_input_ids), dtype=np.int32)
        inputs = {
            "decoder_input_ids": decoder_input_ids.numpy(),
            "encoder_hidden_states": encoder_outputs.last_hidden_state.numpy(),
            "beam_idx": self._beam_idx,
        }
        self._decoder.start_async(inputs, share_inputs=True)
        self._decoder.wait()
        logits = torch.from_numpy(self._decoder.get_tensor("logits").data)
        return Seq2SeqLMOutput(logits=logits, past_key_values=())

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, past_key_values: tuple[()] | None = None, encoder_outputs: Any = None, **_: Any
    ) -> dict[str, Any]:
        """Pass only the last token after the first step."""
        tokens = input_ids if past_key_values is None else input_ids[:, -1:]
        return {
            "decoder_input_ids": tokens.contiguous(),
            "encoder_outputs": encoder_outputs,
            "past_key_values": past_key_values,
        }

    def _prepare_cache_for_generation(self, *_: Any, **__: Any) -> None:
        """Do nothing: the engine keeps the cache."""

    def _reorder_cache(self, past_key_values: tuple[()], beam_idx: Tensor) -> tuple[()]:
        self._beam_idx = beam_idx.numpy().astype(np.int32)
        return past_key_values
