"""The searches give transformers' recorded answers, and those of a plain implementation of the same algorithm."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from f2edge.decoding import Generation, generate, stream
from f2edge.decoding.constraints import banned_tokens
from f2edge.decoding.settings import MAX_LENGTH_PENALTY, MAX_NUM_BEAMS, GenerationSettings
from f2edge.errors import DeviceError, InputError, LimitError
from f2edge.lines import shown
from tests.support.oracles import load
from tests.support.table_session import START, TableSession, peaked_table

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.arrays import FloatArray

EOS = 2


def log_softmax(logits: FloatArray) -> FloatArray:
    """Return log-probabilities in float32, computed with a log-sum-exp like the one the search gets."""
    log_sum_exp = np.log(np.exp(logits.astype(np.float64)).sum())
    result: FloatArray = logits - np.float32(log_sum_exp)
    return result


def plain_scores(table: FloatArray, prefix: list[int], settings: GenerationSettings) -> FloatArray:
    """Return the scores of the next token: processed logits with one beam, log-probabilities with more."""
    state = 0
    for token in prefix:
        state = (state * 31 + token + 7) % len(table)
    scores = table[state].copy() if settings.num_beams == 1 else log_softmax(table[state])
    n = settings.no_repeat_ngram_size
    ngrams = {tuple(prefix[i : i + n]) for i in range(len(prefix) - n + 1)} if n else set()
    for token in range(len(scores)):
        if (*prefix[len(prefix) - n + 1 :], token) in ngrams:
            scores[token] = -np.inf
    for forced, length in (
        (settings.forced_bos_token_id, 1),
        (settings.forced_eos_token_id, settings.max_new_tokens),
    ):
        if forced is not None and len(prefix) == length:
            scores[:] = -np.inf
            scores[forced] = 0
    return scores


def plain_beam_search(table: FloatArray, settings: GenerationSettings) -> tuple[list[int], float]:
    """Search with beams as docs/florence2.md#beam-search states, on plain lists and the whole vocabulary."""
    B, penalty, limit = settings.num_beams, settings.length_penalty, settings.max_new_tokens + 1
    running = [([START], np.float32(0 if beam == 0 else -1e9)) for beam in range(B)]
    pool: list[tuple[np.float32, list[int]]] = []
    while True:
        grown = [
            ([*prefix, token], np.float32(total + logprob))
            for prefix, total in running
            for token, logprob in enumerate(plain_scores(table, prefix, settings))
        ]
        grown = sorted(grown, key=lambda item: -item[1])[: 2 * B]
        ended = [sequence[-1] == EOS or len(sequence) >= limit for sequence, _ in grown]
        length = len(grown[0][0]) - 1
        pool += [
            (np.float32(s / np.float32(length**penalty)), q) for (q, s), e in zip(grown[:B], ended, strict=False) if e
        ]
        pool = sorted((item for item in pool if item[0] > -1e9), key=lambda item: -item[0])[:B]
        moved = [(q, np.float32(s + np.float32(-1e9) * e)) for (q, s), e in zip(grown, ended, strict=True)]
        running = sorted(moved, key=lambda item: -item[1])[:B]
        far = limit - 1 if settings.early_stopping == "never" and penalty > 0 else length
        worst = pool[-1][0] if len(pool) == B else np.float32(-1e9)
        hopeless = not running[0][1] / np.float32(far**penalty) > worst
        if all(ended) or hopeless or (settings.early_stopping is True and len(pool) == B):
            return pool[0][1], float(pool[0][0])


def plain_greedy(table: FloatArray, settings: GenerationSettings) -> tuple[list[int], list[float]]:
    """Search greedily over the whole vocabulary; return the tokens and their log-probabilities."""
    prefix, logprobs = [START], []
    while len(prefix) <= settings.max_new_tokens and (len(prefix) == 1 or prefix[-1] != EOS):
        scores = plain_scores(table, prefix, settings)
        prefix.append(int(scores.argmax()))
        logprobs.append(float(log_softmax(scores)[prefix[-1]]))
    return prefix, logprobs


@pytest.fixture(scope="module")
def oracle(oracles_dir: Path) -> list[dict[str, Any]]:
    """Return the recorded searches: settings, tables and the answers of transformers 5.23."""
    cases: list[dict[str, Any]] = load(oracles_dir / "generation.jsonl")
    assert len(cases) == 292
    return cases


def settings_of(case: dict[str, Any]) -> GenerationSettings:
    """Return the settings of a recorded search."""
    return GenerationSettings(**{name: case[name] for name in GenerationSettings.__annotations__ if name in case})


@pytest.mark.parametrize("num_candidates", [1, 3, 6, 12])
def test_every_search_of_the_oracle(oracle: list[dict[str, Any]], num_candidates: int) -> None:
    """Sequence, score and transition scores equal those of transformers for any number of candidates."""
    for case in oracle:
        session = TableSession(np.array(case["table"], np.float32), num_candidates)
        answer = generate(session, settings_of(case))
        assert list(answer.token_ids) == case["expected_sequence"], case["id"]
        np.testing.assert_allclose(answer.token_logprobs, case["transition_scores"], rtol=0, atol=1e-5)
        if case["expected_score"] is not None:
            assert answer.score == pytest.approx(case["expected_score"], abs=1e-5), case["id"]


ALL_SETTINGS = st.builds(
    GenerationSettings,
    num_beams=st.integers(1, 5),
    max_new_tokens=st.integers(1, 10),
    length_penalty=st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]),
    early_stopping=st.sampled_from([True, False, "never"]),
    no_repeat_ngram_size=st.sampled_from([0, 2, 3]),
    forced_bos_token_id=st.sampled_from([None, 0]),
    forced_eos_token_id=st.sampled_from([None, 2]),
)


def random_table(seed: int, vocab: int, *, ties: bool = False) -> FloatArray:
    """Return 17 rows of random logits; with ``ties`` they are whole numbers, so that many are equal."""
    logits = np.random.default_rng(seed).normal(scale=2, size=(17, vocab))
    return (logits.round() if ties else logits).astype(np.float32)


@hypothesis_settings(max_examples=150, deadline=None)
@given(ALL_SETTINGS, st.integers(0, 10**6), st.integers(2, 12), st.booleans())
def test_candidates_give_the_same_answer_as_all_logits(
    settings: GenerationSettings, seed: int, num_candidates: int, reverse_ties: bool
) -> None:
    """The answer depends neither on the number of candidates nor on how an engine orders equal logits."""
    table = random_table(seed, vocab=12, ties=True)
    few = generate(TableSession(table, num_candidates, reverse_ties=reverse_ties), settings)
    every = generate(TableSession(table, num_candidates=12), settings)
    assert few.token_ids == every.token_ids
    np.testing.assert_allclose(few.token_logprobs, every.token_logprobs, rtol=0, atol=2e-6)


@hypothesis_settings(max_examples=150, deadline=None)
@given(ALL_SETTINGS.filter(lambda s: s.num_beams > 1), st.integers(0, 10**6), st.integers(5, 12), st.booleans())
def test_beam_search_equals_the_plain_search(settings: GenerationSettings, seed: int, vocab: int, ties: bool) -> None:
    """Beam search and its plain implementation agree, also with ties and with few tokens."""
    table = random_table(seed, vocab, ties=ties)
    sequence, score = plain_beam_search(table, settings)
    answer = generate(TableSession(table, num_candidates=9), settings)
    assert list(answer.token_ids) == sequence
    assert answer.score == pytest.approx(score, abs=1e-6)
    mean = sum(answer.token_logprobs) / len(answer.token_logprobs) ** settings.length_penalty
    assert answer.score == pytest.approx(mean, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("forced_bos", [None, 0])
def test_more_beams_than_tokens(forced_bos: int | None) -> None:
    """With more beams than tokens, the beams that start at -1e9 stay in the search, as in the plain implementation."""
    settings = GenerationSettings(num_beams=8, max_new_tokens=6, no_repeat_ngram_size=0, forced_bos_token_id=forced_bos)
    for seed in range(10):
        table = random_table(seed, vocab=5)
        sequence, score = plain_beam_search(table, settings)
        answer = generate(TableSession(table, num_candidates=5), settings)
        assert list(answer.token_ids) == sequence
        assert answer.score == pytest.approx(score, abs=1e-6)


@hypothesis_settings(max_examples=150, deadline=None)
@given(ALL_SETTINGS.map(lambda s: replace(s, num_beams=1)), st.integers(0, 10**6), st.integers(2, 12))
def test_greedy_equals_the_plain_search_and_streams(
    settings: GenerationSettings, seed: int, num_candidates: int
) -> None:
    """Greedy search takes the first maximum of the processed logits, and streams the tokens of its answer."""
    table = random_table(seed, vocab=12, ties=True)
    sequence, logprobs = plain_greedy(table, settings)
    answer = generate(TableSession(table, num_candidates), settings)
    assert list(answer.token_ids) == sequence
    np.testing.assert_allclose(answer.token_logprobs, logprobs, rtol=0, atol=2e-6)
    assert answer.score == pytest.approx(sum(logprobs) / len(logprobs) ** settings.length_penalty, abs=1e-4)
    streamed = list(stream(TableSession(table, num_candidates), settings))
    assert tuple(token.token_id for token in streamed) == answer.token_ids[1:]
    assert tuple(token.logprob for token in streamed) == answer.token_logprobs


@pytest.mark.parametrize("num_beams", [1, 2, 3])
@pytest.mark.parametrize("num_candidates", [2, 4, 6])
def test_equal_logits_beyond_the_candidates(num_beams: int, num_candidates: int) -> None:
    """If all logits are equal the lowest ids win, even if the engine offers the highest ids."""
    table = np.zeros((1, 12), np.float32)
    settings = GenerationSettings(num_beams=num_beams, max_new_tokens=4, early_stopping="never")
    offered = generate(TableSession(table, num_candidates, reverse_ties=True), settings)
    assert offered == generate(TableSession(table, num_candidates=12), settings)


@pytest.mark.parametrize(("num_beams", "max_new_tokens"), [(1, 30), (3, 200), (5, 200)])
def test_usual_settings_fetch_nothing(num_beams: int, max_new_tokens: int) -> None:
    """With 32 candidates and Florence-2's settings the search never fetches all logits."""
    session = TableSession(peaked_table(), num_candidates=32)
    answer = generate(session, GenerationSettings(num_beams=num_beams, max_new_tokens=max_new_tokens))
    assert len(answer.token_ids) == max_new_tokens + 1
    assert session.fetches == 0


def test_too_few_candidates_fetch_all_logits() -> None:
    """With fewer than 2 x num_beams candidates the search fetches all logits, and the answer is the same."""
    settings = GenerationSettings(num_beams=3, max_new_tokens=40)
    few, many = TableSession(peaked_table(), 4), TableSession(peaked_table(), 32)
    assert generate(few, settings) == generate(many, settings)
    assert few.fetches > 0
    assert many.fetches == 0


def test_greedy_fetches_only_if_a_ban_takes_most_of_the_probability() -> None:
    """Greedy search fetches all logits only if banned tokens hold so much probability that digits would be lost."""
    table = np.full((1, 50), -3.0, np.float32)
    table[0, 7] = 12.0
    session = TableSession(table, num_candidates=8)
    answer = generate(session, GenerationSettings(num_beams=1, max_new_tokens=6))
    assert answer.token_ids == (2, 0, 7, 7, 7, 0, 2)
    assert session.fetches == 1
    assert answer.token_logprobs[4] == pytest.approx(-math.log(49), abs=1e-6)


def test_beams_are_expanded_once_they_differ() -> None:
    """Equal beams run as one row, and a step whose outcome is forced and final is not run."""
    table = random_table(3, vocab=12)
    table[:, EOS] = -20
    settings = GenerationSettings(num_beams=3, max_new_tokens=6)
    forced, free = TableSession(table, 12), TableSession(table, 12)
    generate(forced, settings)
    generate(free, replace(settings, forced_bos_token_id=None, forced_eos_token_id=None))
    assert forced.widths == [1, 1, 3, 3, 3]
    assert free.widths == [1, 3, 3, 3, 3, 3]


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("forced_eos", [None, 2])
def test_truncated_says_whether_the_limit_ended_the_answer(num_beams: int, forced_eos: int | None) -> None:
    """``truncated`` is set if the limit ended the answer, with or without a forced end token, and not otherwise."""
    table = np.arange(12, dtype=np.float32)[None].copy()
    settings = GenerationSettings(
        num_beams=num_beams, max_new_tokens=5, forced_eos_token_id=forced_eos, no_repeat_ngram_size=0
    )
    cut = generate(TableSession(table, 12), settings)
    assert cut.truncated
    assert len(cut.token_ids) == 6
    assert (cut.token_ids[-1] == EOS) == (forced_eos is not None)
    table[0, EOS] = 30
    ended = generate(TableSession(table, 12), settings)
    assert not ended.truncated
    assert ended.token_ids == (2, 0, 2)


def test_an_unforced_end_in_the_last_place_is_no_truncation() -> None:
    """If the model itself ends the answer at the last position, the answer is not truncated."""
    table = np.zeros((1, 12), np.float32)
    table[0, EOS] = 30
    settings = GenerationSettings(num_beams=3, max_new_tokens=2, forced_eos_token_id=None)
    assert not generate(TableSession(table, 12), settings).truncated


def test_early_stopping_variants_differ() -> None:
    """The three rules of early stopping are three searches: over many tables each pair disagrees at least once."""
    answers = [
        [
            generate(
                TableSession(random_table(seed, 8), 8),
                GenerationSettings(num_beams=3, max_new_tokens=12, length_penalty=2.0, early_stopping=rule),
            )
            for seed in range(40)
        ]
        for rule in (True, False, "never")
    ]
    assert answers[0] != answers[1] != answers[2] != answers[0]


@pytest.mark.parametrize(("ngram_size", "expected"), [(0, []), (1, [2, 5, 6, 5]), (2, [6]), (3, []), (5, []), (9, [])])
def test_banned_tokens(ngram_size: int, expected: list[int]) -> None:
    """A token is banned only if it would complete an n-gram that the same beam already has."""
    banned = banned_tokens(np.array([[2, 5, 6, 5], [1, 1, 3, 4]]), ngram_size)
    assert banned.token_ids[banned.beams == 0].tolist() == expected


def test_the_latest_ngram_counts_too() -> None:
    """An n-gram that ends at the end of the sequence counts: overlapping repetitions are banned."""
    assert banned_tokens(np.array([[5, 5]]), 2).token_ids.tolist() == [5]


def test_a_beam_is_banned_by_its_own_past_alone() -> None:
    """An n-gram in one beam bans nothing in another."""
    banned = banned_tokens(np.array([[7, 8, 9, 7, 8], [7, 8, 1, 2, 3]]), 3)
    assert (banned.beams.tolist(), banned.token_ids.tolist()) == ([0], [9])


def test_streaming_needs_one_beam() -> None:
    """Streaming with several beams is refused when it is called, not at the first token."""
    with pytest.raises(InputError, match="num_beams=1, not 3"):
        stream(TableSession(random_table(0, 12), 12), GenerationSettings(num_beams=3))


@pytest.mark.parametrize("num_beams", [1, 3])
def test_scores_that_are_not_numbers_are_refused(num_beams: int) -> None:
    """Logits that are not finite raise an error of the device, in place of an answer."""
    table = np.full((1, 12), np.nan, np.float32)
    with pytest.raises(DeviceError, match="not finite"):
        generate(TableSession(table, 12), GenerationSettings(num_beams=num_beams, max_new_tokens=4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_beams": 0},
        {"num_beams": "3"},
        {"num_beams": True},
        {"num_beams": None},
        {"num_beams": 10**10},
        {"max_new_tokens": 0},
        {"max_new_tokens": 2.5},
        {"no_repeat_ngram_size": -1},
        {"early_stopping": "maybe"},
        {"early_stopping": 1},
        {"early_stopping": np.zeros(2)},
        {"eos_token_id": np.zeros(0)},
        {"suppress_tokens": ""},
        {"suppress_tokens": {}},
        {"bad_words_ids": [[[[[5]]]]]},
        {"repetition_penalty": 10**400},
        {"num_beams": 10**4400},
        {"min_length": -(10**4400)},
        {"length_penalty": math.nan},
        {"length_penalty": -math.inf},
        {"length_penalty": 1e9},
        {"length_penalty": "1"},
        {"length_penalty": None},
        {"eos_token_id": 2.0},
        {"forced_bos_token_id": "0"},
        {"decoder_start_token_id": 10**30},
        {"decoder_start_token_id": None},
    ],
    ids=shown,
)
def test_settings_that_no_search_can_follow(wrong: dict[str, Any]) -> None:
    """A setting that is out of range or of a wrong type is refused by its name."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        GenerationSettings(**wrong)


def test_more_beams_than_any_search_needs() -> None:
    """64 beams are allowed and 65 are refused."""
    assert GenerationSettings(num_beams=MAX_NUM_BEAMS).num_beams == 64
    with pytest.raises(LimitError, match="num_beams is 65; it must be 1 to 64"):
        GenerationSettings(num_beams=65)


@pytest.mark.parametrize("penalty", [MAX_LENGTH_PENALTY, -MAX_LENGTH_PENALTY])
def test_the_largest_length_penalties_stay_finite(penalty: float) -> None:
    """The largest penalties stay finite and above zero for an answer of 65,536 tokens."""
    assert 0 < float(2**16) ** penalty < math.inf
    assert GenerationSettings(length_penalty=penalty).length_penalty == penalty


def test_tokens_beyond_the_vocabulary_are_named() -> None:
    """Every token id beyond the vocabulary is named; a forced token set to None is skipped."""
    settings = GenerationSettings(forced_bos_token_id=None, forced_eos_token_id=9, eos_token_id=10, pad_token_id=8)
    assert settings.beyond(11) == []
    assert settings.beyond(9) == [
        "forced_eos_token_id is 9, and the vocabulary ends at 8",
        "eos_token_id is 10, and the vocabulary ends at 8",
    ]


def test_answers_are_plain_python() -> None:
    """Token ids and log-probabilities are plain Python numbers that JSON can hold."""
    for num_beams in (1, 3):
        answer = generate(
            TableSession(random_table(1, 12), 12), GenerationSettings(num_beams=num_beams, max_new_tokens=5)
        )
        assert isinstance(answer, Generation)
        assert json.loads(json.dumps(answer.token_ids)) == list(answer.token_ids)
        assert json.loads(json.dumps([*answer.token_logprobs, answer.score]))
