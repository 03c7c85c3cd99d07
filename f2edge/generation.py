"""How an answer is searched for: the settings of greedy and beam search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of one search, with the meaning and the defaults that they have in transformers (spec, section G).

    ``max_new_tokens`` counts every token after the decoder start token.  ``None`` for a forced token means not forced,
    0 for ``no_repeat_ngram_size`` means no ban.
    """

    num_beams: int = 3
    max_new_tokens: int = 1024
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = True
    no_repeat_ngram_size: int = 3
    forced_bos_token_id: int | None = 0
    forced_eos_token_id: int | None = 2
    decoder_start_token_id: int = 2
    bos_token_id: int = 0
    pad_token_id: int = 1
    eos_token_id: int = 2
