"""Logits processors change scores as those of transformers do, and ask for all scores when they must."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from f2edge.decoding import generate
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import InputError
from tests.support.searches import EOS, random_search
from tests.support.table_model import answer
from tests.support.table_session import TableSession, peaked_table

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray

VOCAB = 40


def random_table(seed: int) -> FloatArray:
    """Return 17 rows of logits, distinct, so that transformers' order of ties does not matter."""
    return np.random.default_rng(seed).normal(scale=2, size=(17, VOCAB)).astype(np.float32)


def assert_same_answer(table: FloatArray, settings: GenerationSettings, num_candidates: int) -> None:
    """Compare the sequence, the score and the log-probabilities with those of transformers."""
    sequence, score, logprobs = answer(table.tolist(), settings)
    ours = generate(TableSession(table, num_candidates), settings)
    assert list(ours.token_ids) == sequence, settings
    np.testing.assert_allclose(ours.token_logprobs, logprobs, rtol=1e-5, atol=2e-5, err_msg=str(settings))
    if score is not None:
        assert ours.score == pytest.approx(score, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("seed", range(24))
def test_combined_settings(seed: int) -> None:
    """Random combinations of settings give transformers' answer, from few candidates and from all."""
    rng = np.random.default_rng(seed)
    for _ in range(4):
        settings = random_search(rng, VOCAB, longest=14)
        table = random_table(int(rng.integers(10**6)))
        for num_candidates in (12, VOCAB):
            assert_same_answer(table, settings, num_candidates)


@pytest.mark.parametrize(
    ("changes", "fetched"),
    [
        ({"repetition_penalty": 1.3}, False),
        ({"suppress_tokens": (7, 8), "bad_words_ids": ((9,), (10, 11)), "min_length": 9}, False),
        ({"sequence_bias": (((7,), -2.0),)}, False),
        ({"repetition_penalty": 0.8}, True),
        ({"sequence_bias": (((7,), 2.0),)}, True),
        ({"exponential_decay_length_penalty": (3, 1.1)}, True),
        ({"renormalize_logits": True}, True),
    ],
)
def test_only_what_may_raise_a_score_fetches_all(changes: dict[str, Any], fetched: bool) -> None:
    """All logits are fetched only if a setting may raise a score or makes it depend on all others."""
    settings = GenerationSettings(num_beams=3, max_new_tokens=12, **changes)
    session = TableSession(peaked_table(), num_candidates=32)
    assert len(generate(session, settings).token_ids) > 6
    assert bool(session.fetches) == fetched


def test_an_end_token_that_is_a_bad_word() -> None:
    """An end token among the bad words still ends an answer, as in transformers."""
    table = random_table(0)
    table[:, EOS] = 9
    settings = GenerationSettings(num_beams=1, bad_words_ids=((EOS,), (5,)), max_new_tokens=9)
    assert generate(TableSession(table, 12), settings).token_ids == (2, 0, 2)
    assert_same_answer(table, settings, 12)


def test_min_new_tokens_overrides_min_length() -> None:
    """``min_new_tokens`` overrides ``min_length``, even if it is smaller."""
    table = random_table(0)
    table[:, EOS] = 9
    for minimum, length in ((0, 3), (4, 6), (None, 8)):
        settings = GenerationSettings(num_beams=1, max_new_tokens=20, min_length=7, min_new_tokens=minimum)
        assert len(generate(TableSession(table, 12), settings).token_ids) == length
        assert_same_answer(table, settings, 12)


@pytest.mark.parametrize("begin", [(3,), (EOS,)])
def test_a_begin_token_that_is_suppressed(begin: tuple[int, ...]) -> None:
    """Tokens are suppressed at the position after a forced token, or at the first one if none is forced."""
    for forced in (0, None):
        settings = GenerationSettings(num_beams=1, max_new_tokens=5, forced_bos_token_id=forced)
        for seed in range(5):
            assert_same_answer(random_table(seed), replace(settings, begin_suppress_tokens=begin), 12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"repetition_penalty": 0.0},
        {"repetition_penalty": "1.2"},
        {"min_length": -1},
        {"min_new_tokens": 2.5},
        {"eos_token_id": []},
        {"eos_token_id": [2, "5"]},
        {"suppress_tokens": 5},
        {"suppress_tokens": [-1]},
        {"suppress_tokens": [0]},
        {"begin_suppress_tokens": "5"},
        {"bad_words_ids": [5]},
        {"bad_words_ids": [[]]},
        {"bad_words_ids": [[5, None]]},
        {"sequence_bias": [[5, 1.0]]},
        {"sequence_bias": [[[5], float("nan")]]},
        {"exponential_decay_length_penalty": [5]},
        {"exponential_decay_length_penalty": [-1, 1.1]},
        {"renormalize_logits": 1},
    ],
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    """A wrong setting is refused by name when the settings are made, not in the middle of an answer."""
    (name,) = wrong
    with pytest.raises(InputError, match=name):
        GenerationSettings(**wrong)


def test_lists_are_as_good_as_tuples() -> None:
    """Lists, as JSON has them, are converted to tuples, so that settings are hashable."""
    settings = GenerationSettings(eos_token_id=[2, 5], bad_words_ids=[[4, 5]], suppress_tokens=[7])  # type: ignore[arg-type]
    assert settings == GenerationSettings(eos_token_id=(2, 5), bad_words_ids=((4, 5),), suppress_tokens=(7,))
    assert isinstance(hash(settings), int)


def test_tokens_beyond_the_vocabulary() -> None:
    """Tokens beyond the vocabulary are faults of all settings but ``suppress_tokens``, where they change nothing."""
    settings = GenerationSettings(
        eos_token_id=(2, 40), bad_words_ids=((41,),), sequence_bias=(((42, 3), 1.0),), suppress_tokens=(43,)
    )
    named = ["eos_token_id is 40", "bad_words_ids is 41", "sequence_bias is 42"]
    assert [fault.split(",")[0] for fault in settings.beyond(VOCAB)] == named
    table = random_table(0)
    answer = generate(TableSession(table, VOCAB), GenerationSettings(suppress_tokens=(43,), max_new_tokens=9))
    assert answer == generate(TableSession(table, VOCAB), GenerationSettings(max_new_tokens=9))
