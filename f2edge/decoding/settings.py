"""The settings of greedy and beam search."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal

from f2edge.errors import InputError, LimitError

MAX_NUM_BEAMS = 64
"""The most beams: no search gains from more, and each costs a copy of the key-value cache."""

MAX_LENGTH_PENALTY = 32.0
"""The largest absolute value: beyond it, powers of the answer length leave the range of floats."""

_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of one search; meaning and defaults are those of transformers (docs/florence2.md#search).

    ``max_new_tokens`` counts every token after the decoder start token.  ``None`` for a forced token means
    not forced, 0 for ``no_repeat_ngram_size`` means no ban.  A token id beyond the vocabulary is one that never comes.

    Raises:
        InputError: a setting is of the wrong type, or out of range.
        LimitError: more than :data:`MAX_NUM_BEAMS` beams.
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
            if name not in ("length_penalty", "early_stopping"):
                _check_integer(name, value)
        if self.num_beams > MAX_NUM_BEAMS:
            raise LimitError(f"num_beams is {self.num_beams}; it must be 1 to {MAX_NUM_BEAMS}")
        if not _is_number(self.length_penalty, Real) or not abs(self.length_penalty) <= MAX_LENGTH_PENALTY:
            raise InputError(
                f"length_penalty is {self.length_penalty!r:.60}; "
                f"it must be a number from -{MAX_LENGTH_PENALTY:g} to {MAX_LENGTH_PENALTY:g}"
            )
        if not isinstance(self.early_stopping, bool) and self.early_stopping != "never":
            raise InputError(f'early_stopping is {self.early_stopping!r:.60}; it must be True, False or "never"')

    def beyond(self, vocab_size: int) -> list[str]:
        """List the settings that name a token beyond a vocabulary of this size, each as a short sentence."""
        tokens = {name: value for name, value in vars(self).items() if name.endswith("_token_id") and value is not None}
        return [
            f"{name} is {value}, and the vocabulary ends at {vocab_size - 1}"
            for name, value in tokens.items()
            if value >= vocab_size
        ]


def _check_integer(name: str, value: Any) -> None:
    if value is None and name.startswith("forced_"):
        return
    least = 1 if name in ("num_beams", "max_new_tokens") else 0
    if not _is_number(value, Integral):
        raise InputError(f"{name} is {value!r:.60}; it must be a whole number")
    if value < least:
        raise InputError(f"{name} is {value}; it must be at least {least}")
    if value > _LARGEST:
        raise InputError(f"{name} is {value!r:.60}; it must be at most {_LARGEST}")


def _is_number(value: Any, kind: type) -> bool:
    """Tell whether a value is a number of this kind; to Python, True is one, too."""
    return isinstance(value, kind) and not isinstance(value, bool)
