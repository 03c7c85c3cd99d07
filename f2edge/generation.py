"""How an answer is searched for: the settings of greedy and beam search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from f2edge.errors import InputError


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of one search; meaning and defaults are those of transformers (spec, section G).

    ``max_new_tokens`` counts every token after the decoder start token.  ``None`` for a forced token means
    not forced, 0 for ``no_repeat_ngram_size`` means no ban.

    Raises:
        InputError: a setting that no search can follow.
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

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 1 if name in ("num_beams", "max_new_tokens") else 0
            if name != "length_penalty" and isinstance(value, int) and value < least:
                raise InputError(f"{name} is {value}; it must be at least {least}")
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise InputError(f'early_stopping is {self.early_stopping!r}; it must be True, False or "never"')
