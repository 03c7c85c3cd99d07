"""Random settings of searches, and the same settings for transformers."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.decoding.settings import GenerationSettings

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray

_UNSET = {"suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "sequence_bias"}
_BEAMS_ONLY = ("length_penalty", "early_stopping")
EOS = 2


def random_search(rng: np.random.Generator, vocab_size: int, longest: int) -> GenerationSettings:
    """Draw settings: each processor is on in some, and several often meet.

    Args:
        rng: the source.
        vocab_size: tokens are drawn from those below it.
        longest: the largest ``max_new_tokens``.
    """
    settings: dict[str, Any] = {
        "num_beams": int(rng.choice([1, 1, 2, 3, 4])),
        "max_new_tokens": int(rng.integers(2, longest + 1)),
        "length_penalty": float(rng.choice([0.5, 1.0, 1.0, 2.0])),
        "early_stopping": [True, False, "never"][rng.integers(3)],
        "no_repeat_ngram_size": int(rng.choice([0, 2, 3, 3])),
        "forced_bos_token_id": [0, None][rng.integers(2)],
        "forced_eos_token_id": [EOS, None][rng.integers(2)],
    }
    drawn = {name: draw(rng, vocab_size, longest) for name, draw in _DRAWS.items() if rng.random() < _SHARE}
    return GenerationSettings(**settings, **drawn)


def random_settings(rng: np.random.Generator, defaults: GenerationSettings) -> GenerationSettings:
    """Draw settings: 1, 3 or 5 beams, up to 60 tokens; the rest is mostly Florence-2's, sometimes random."""
    usual = rng.random() < 0.6
    return replace(
        defaults,
        num_beams=int(rng.choice([1, 3, 5])),
        max_new_tokens=int(rng.integers(2, 61)),
        no_repeat_ngram_size=3 if usual else int(rng.choice([0, 2, 3, 4])),
        length_penalty=1.0 if usual else float(rng.choice([0.5, 1.0, 2.0])),
        early_stopping=True if usual else rng.choice(np.array([True, False, "never"], object)),
    )


def random_question(rng: np.random.Generator, image_size: tuple[int, int]) -> tuple[FloatArray, list[int]]:
    """Draw pixels (1, 3, height, width) and a prompt of 3 to 21 tokens."""
    pixels = rng.standard_normal((1, 3, *image_size)).astype(np.float32)
    return pixels, [0, *rng.integers(4, 1500, rng.integers(1, 20)).tolist(), 2]


_SHARE = 0.3
"""How often each processor is on."""

_DRAWS: dict[str, Any] = {
    "eos_token_id": lambda rng, vocab, _: (EOS, *_tokens(rng, vocab, rng.integers(1, 4))),
    "repetition_penalty": lambda rng, *_: float(rng.choice([0.7, 1.3, 2.5])),
    "min_length": lambda rng, _, longest: int(rng.integers(1, longest)),
    "min_new_tokens": lambda rng, _, longest: int(rng.integers(0, longest)),
    "suppress_tokens": lambda rng, vocab, _: _tokens(rng, vocab, rng.integers(1, vocab // 3)),
    "begin_suppress_tokens": lambda rng, vocab, _: _tokens(rng, vocab, rng.integers(1, vocab // 3)),
    "bad_words_ids": lambda rng, vocab, _: tuple(_words(rng, vocab)),
    "sequence_bias": lambda rng, vocab, _: tuple((word, float(rng.normal(scale=3))) for word in _words(rng, vocab)),
    "exponential_decay_length_penalty": lambda rng, _, longest: (int(rng.integers(0, longest)), 1.2),
    "renormalize_logits": lambda *_: True,
}


def _tokens(rng: np.random.Generator, vocab: int, count: int) -> tuple[int, ...]:
    """Draw tokens that no other setting forces."""
    return tuple(int(token) for token in rng.integers(3, vocab, count))


def _words(rng: np.random.Generator, vocab: int) -> list[tuple[int, ...]]:
    """Draw distinct sequences; many are short, so that they occur in answers of few tokens."""
    words = [_tokens(rng, vocab, length) for length in rng.choice([1, 1, 2, 2, 3], rng.integers(1, vocab))]
    return list(dict.fromkeys([*words, (EOS,)]))


def as_transformers(settings: GenerationSettings) -> dict[str, Any]:
    """Return the settings as arguments of transformers' ``GenerationConfig``."""
    values = {name: _lists(value) for name, value in asdict(settings).items()}
    return {
        name: value
        for name, value in values.items()
        if (value or name not in _UNSET) and (settings.num_beams > 1 or name not in _BEAMS_ONLY)
    } | {"do_sample": False}


def _lists(value: Any) -> Any:
    return [_lists(part) for part in value] if isinstance(value, (list, tuple)) else value


def generation_config(settings: GenerationSettings) -> dict[str, Any]:
    """Return the settings as the content of ``generation_config.json``."""
    return as_transformers(settings) | {"temperature": 0.7, "top_k": 5}  # ignored where nothing is sampled
