"""A language model without weights: transformers' ``generate`` searches tables of logits with it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from tests.support.searches import as_transformers

if TYPE_CHECKING:
    from torch import Tensor

    from f2edge.decoding.settings import GenerationSettings

SETTINGS = (
    *("num_beams", "max_new_tokens", "no_repeat_ngram_size", "forced_bos_token_id", "forced_eos_token_id"),
    *("eos_token_id", "pad_token_id"),
)
BEAM_SETTINGS = ("length_penalty", "early_stopping")


class TableModel(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A decoder whose logits are a row of a table, chosen by a hash of all tokens so far.

    Args:
        table: K rows of logits, one column for each token of the vocabulary.
    """

    config_class = PreTrainedConfig

    def __init__(self, table: list[list[float]]) -> None:
        super().__init__(PreTrainedConfig(vocab_size=len(table[0])))
        self.table = torch.nn.Parameter(torch.tensor(table, dtype=torch.float32), requires_grad=False)

    def forward(self, input_ids: Tensor, **_: Any) -> CausalLMOutput:
        """Return the row of each prefix: ids [beams, length] give logits [beams, 1, vocabulary]."""
        row = torch.zeros(len(input_ids), dtype=torch.int64)
        for tokens in input_ids.T:
            row = (row * 31 + tokens + 7) % len(self.table)
        return CausalLMOutput(logits=self.table[row][:, None])

    def prepare_inputs_for_generation(self, input_ids: Tensor, **_: Any) -> dict[str, Tensor]:
        """Return the whole prefix for every step; there is no cache."""
        return {"input_ids": input_ids}


def search(case: dict[str, Any]) -> dict[str, Any]:
    """Return what ``generate`` answers for a case's table and settings, in the fields of ``generation.jsonl``."""
    model, beams = TableModel(case["table"]), case["num_beams"] > 1
    output = model.generate(torch.tensor([[case["decoder_start_token_id"]]]), generation_config=_settings(case))
    scores = model.compute_transition_scores(
        output.sequences, output.scores, output.beam_indices if beams else None, normalize_logits=not beams
    )
    return {
        "expected_sequence": output.sequences[0].tolist(),
        "expected_score": output.sequences_scores[0].item() if beams else None,
        "transition_scores": [round(score, 6) for score in scores[0].tolist()],
    }


def answer(table: list[list[float]], settings: GenerationSettings) -> tuple[list[int], float | None, list[float]]:
    """Return the sequence that ``generate`` gives, its score with beams, and the log-probability of each token."""
    model, beams = TableModel(table), settings.num_beams > 1
    config = GenerationConfig(
        **as_transformers(settings), use_cache=False, return_dict_in_generate=True, output_scores=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers warns of a minimum above the maximum
        output = model.generate(torch.tensor([[settings.decoder_start_token_id]]), generation_config=config)
    logprobs = model.compute_transition_scores(
        output.sequences, output.scores, output.beam_indices if beams else None, normalize_logits=not beams
    )
    score = output.sequences_scores[0].item() if beams else None
    return output.sequences[0].tolist(), score, logprobs[0].tolist()


def _settings(case: dict[str, Any]) -> GenerationConfig:
    names = SETTINGS + BEAM_SETTINGS if case["num_beams"] > 1 else SETTINGS
    return GenerationConfig(
        **{name: case[name] for name in names},
        do_sample=False,
        use_cache=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
