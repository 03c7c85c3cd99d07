"""The settings of greedy and beam search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from f2edge.errors import InputError, LimitError
from f2edge.lines import shown
from f2edge.numbers import is_number, is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NUM_BEAMS = 64
"""The most beams: no search gains from more, and each costs a copy of the key-value cache."""

MAX_LENGTH_PENALTY = 32.0
"""The largest absolute value: beyond it, powers of the answer length leave the range of floats."""

_LARGEST = 2**31 - 1
_SEQUENCES = ("suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "sequence_bias")
_CHECKED_BY_NAME = ("length_penalty", "early_stopping", "repetition_penalty", "exponential_decay_length_penalty")
_PAIR = 2
_DEPTH = 3  # of the biases: pairs of a sequence of tokens and a number


@dataclass(frozen=True)
class GenerationSettings:
    """Settings of one search; names and meaning are those of transformers (docs/florence2.md#search).

    ``max_new_tokens`` counts every token after the decoder start token.  ``None`` for a forced token means
    not forced, 0 for ``no_repeat_ngram_size`` means no ban.  A token id beyond the vocabulary is one that never comes.

    Args:
        num_beams: 1 for greedy search.
        max_new_tokens: the length of the longest answer.
        length_penalty: the power of the length that the score of a finished beam is divided by.
        early_stopping: when beam search stops.
        no_repeat_ngram_size: the n of n-grams that may not recur.
        forced_bos_token_id: the first token after the decoder start token.
        forced_eos_token_id: the last token of an answer of ``max_new_tokens``.
        decoder_start_token_id: the token that every sequence starts with.
        bos_token_id: not used by a search.
        pad_token_id: not used by a search.
        eos_token_id: the token, or the tokens, that end an answer; None if only ``max_new_tokens`` ends it.
        repetition_penalty: the factor on the negative score of each token that the sequence already has.
        min_length: no end token before the sequence has this length, the decoder start token included.
        min_new_tokens: no end token before as many new tokens; if not None, it takes the place of ``min_length``.
        suppress_tokens: tokens that never come.
        begin_suppress_tokens: tokens that are not the first one, a forced first one left aside.
        bad_words_ids: sequences of tokens that never come; an end token alone is allowed.
        sequence_bias: pairs (sequence of tokens, number added to the score of its last token).
        exponential_decay_length_penalty: (start, factor): after ``start`` new tokens the score of the end tokens
            rises with powers of ``factor``.
        renormalize_logits: normalise the scores again after all of these were applied.

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
    eos_token_id: int | tuple[int, ...] | None = 2
    repetition_penalty: float = 1.0
    min_length: int = 0
    min_new_tokens: int | None = None
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    sequence_bias: tuple[tuple[tuple[int, ...], float], ...] = ()
    exponential_decay_length_penalty: tuple[int, float] | None = None
    renormalize_logits: bool = False

    def __post_init__(self) -> None:
        for name in ("eos_token_id", "exponential_decay_length_penalty", *_SEQUENCES):
            object.__setattr__(self, name, _tuples(getattr(self, name)))
        for name, value in vars(self).items():
            if name in _SEQUENCES:
                _check_sequence(name, value)
            elif name not in (*_CHECKED_BY_NAME, "eos_token_id", "renormalize_logits"):
                _check_integer(name, value)
        self._check_search()
        self._check_processors()

    def _check_search(self) -> None:
        if self.num_beams > MAX_NUM_BEAMS:
            raise LimitError(f"num_beams is {shown(self.num_beams)}; it must be 1 to {MAX_NUM_BEAMS}")
        if not is_number(self.length_penalty) or not abs(self.length_penalty) <= MAX_LENGTH_PENALTY:
            raise InputError(
                f"length_penalty is {shown(self.length_penalty)}; "
                f"it must be a number from -{MAX_LENGTH_PENALTY:g} to {MAX_LENGTH_PENALTY:g}"
            )
        if not isinstance(self.early_stopping, (bool, str)) or self.early_stopping not in {True, False, "never"}:
            raise InputError(f'early_stopping is {shown(self.early_stopping)}; it must be True, False or "never"')
        if self.eos_token_id is not None and not self.end_token_ids:
            raise InputError("eos_token_id is (); it must be a token, some tokens or None")
        for token in self.end_token_ids:
            _check_integer("eos_token_id", token)

    def _check_processors(self) -> None:
        penalty, decay = self.repetition_penalty, self.exponential_decay_length_penalty
        if not _is_finite(penalty) or penalty <= 0:
            raise InputError(f"repetition_penalty is {shown(penalty)}; it must be a number above 0")
        if not isinstance(self.renormalize_logits, bool):
            raise InputError(f"renormalize_logits is {shown(self.renormalize_logits)}; it must be True or False")
        if decay is not None and not _is_decay(decay):
            raise InputError(
                f"exponential_decay_length_penalty is {shown(decay)}; it must be a whole number from 0 and a factor"
            )
        for name in ("forced_bos_token_id", "forced_eos_token_id"):
            if (token := getattr(self, name)) is not None and token in self.suppress_tokens:
                raise InputError(f"{name} is {token}, which suppress_tokens takes away; it can be in one of them only")

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """The tokens that end an answer; none if only its length does."""
        if self.eos_token_id is None:
            return ()
        return self.eos_token_id if isinstance(self.eos_token_id, tuple) else (self.eos_token_id,)

    @property
    def shortest(self) -> int:
        """The length from which on a sequence may end, the decoder start token included."""
        return self.min_length if self.min_new_tokens is None else self.min_new_tokens + 1

    def beyond(self, vocab_size: int) -> list[str]:
        """List the settings that name a token beyond a vocabulary of this size, each as a short sentence."""
        return [
            f"{name} is {token}, and the vocabulary ends at {vocab_size - 1}"
            for name, token in self._tokens()
            if token >= vocab_size
        ]

    def _tokens(self) -> Iterator[tuple[str, int]]:
        """Yield every token that a search needs, with the name of its setting; a suppressed one need not exist."""
        for name, value in vars(self).items():
            if name.endswith("_token_id") and isinstance(value, int):
                yield name, value
        if isinstance(self.eos_token_id, tuple):
            yield from (("eos_token_id", token) for token in self.eos_token_id)
        yield from (("bad_words_ids", token) for word in self.bad_words_ids for token in word)
        yield from (("sequence_bias", token) for sequence, _ in self.sequence_bias for token in sequence)


def _tuples(value: Any, depth: int = _DEPTH) -> Any:
    """Turn lists, which JSON has, into tuples, as deep as a setting goes."""
    if not depth or not isinstance(value, (list, tuple)):
        return value
    return tuple(_tuples(inner, depth - 1) for inner in value)


def _check_sequence(name: str, value: Any) -> None:
    """Check the tokens of one of the settings that are sequences of tokens, of words or of biases."""
    tokens_of = _TOKENS_OF.get(name, _token)
    try:
        tokens = [token for part in _sequence(value) for token in tokens_of(part)]
    except TypeError:
        raise InputError(f"{name} is {shown(value)}; it must be {_WANTED[name]}") from None
    for token in tokens:
        _check_integer(name, token)


def _sequence(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise TypeError
    return value


def _token(part: Any) -> tuple[Any, ...]:
    return (part,)


def _word(part: Any) -> tuple[Any, ...]:
    if not isinstance(part, tuple) or not part:
        raise TypeError
    return part


def _biased(part: Any) -> tuple[Any, ...]:
    if not isinstance(part, tuple) or len(part) != _PAIR or not _is_finite(part[1]):
        raise TypeError
    return _word(part[0])


_TOKENS_OF = {"bad_words_ids": _word, "sequence_bias": _biased}
_WANTED = {
    "suppress_tokens": "token ids",
    "begin_suppress_tokens": "token ids",
    "bad_words_ids": "sequences of token ids",
    "sequence_bias": "pairs of a sequence of token ids and a number",
}


def _is_decay(value: Any) -> bool:
    if not isinstance(value, tuple) or len(value) != _PAIR:
        return False
    start, factor = value
    return is_whole(start) and 0 <= start <= _LARGEST and _is_finite(factor) and factor > 0


def _check_integer(name: str, value: Any) -> None:
    if value is None and (name.startswith("forced_") or name == "min_new_tokens"):
        return
    least = 1 if name in ("num_beams", "max_new_tokens") else 0
    if not is_whole(value):
        raise InputError(f"{name} is {shown(value)}; it must be a whole number")
    if value < least:
        raise InputError(f"{name} is {shown(value)}; it must be at least {least}")
    if value > _LARGEST:
        raise InputError(f"{name} is {shown(value)}; it must be at most {_LARGEST}")


def _is_finite(value: Any) -> bool:
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False
