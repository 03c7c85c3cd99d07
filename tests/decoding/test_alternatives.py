"""What each token was chosen from: the decoder's best tokens after exactly the tokens before it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from f2edge.decoding import decide, generate, generate_together
from f2edge.decoding.settings import GenerationSettings
from f2edge.tasks.structured import make_grammar
from f2edge.tasks.table import TASKS
from f2edge.tasks.vocabulary import Vocabulary
from f2edge.tokenizer import Tokenizer
from tests.support.checkpoints import tiny_tokenizer
from tests.support.table_session import BatchTableSession, TableSession, peaked_table

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray
    from f2edge.decoding import Generation

CANDIDATES = 32
SETTINGS = GenerationSettings(num_beams=3, max_new_tokens=24)


def table(seed: int) -> FloatArray:
    """Return logits of 60 tokens."""
    rng = np.random.default_rng(seed)
    return 3 * rng.standard_normal((997, 60)).astype(np.float32)


def assert_own(generation: Generation, rows: FloatArray, length: int = -1) -> None:
    """Compare the alternatives with a decoder that is fed the tokens of the answer, or the first ones, alone."""
    session = TableSession(rows, CANDIDATES)
    for position, token in enumerate(generation.token_ids[:length], start=1):
        step = session.step(np.array([token]), np.zeros(1, np.int64))
        alternatives = generation.alternatives.at(position)
        if alternatives is None:
            assert position == len(generation.token_ids) - 1  # a forced end needs no step
            continue
        assert alternatives.token_ids.tolist() == step.token_ids[0].tolist()
        assert alternatives.logprobs.tolist() == (step.logits[0] - step.log_sum_exp[0]).tolist()


@pytest.mark.parametrize("beams", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_along_the_ancestry_of_the_answer(beams: int, seed: int) -> None:
    """Beams change places from step to step, and the alternatives follow the sequence that is returned."""
    rows = table(seed)
    generation = generate(TableSession(rows, CANDIDATES), replace(SETTINGS, num_beams=beams))
    assert len(generation.token_ids) > 4
    assert_own(generation, rows)
    assert generation.alternatives.at(0) is None


@pytest.mark.parametrize("beams", [1, 3])
def test_of_beginnings(beams: int) -> None:
    """What is decided of an answer has the alternatives of the whole."""
    rows = peaked_table()
    count = 0
    for generation in decide(TableSession(rows, CANDIDATES), replace(SETTINGS, num_beams=beams)):
        assert_own(generation, rows)
        count += 1
    assert count > 1


def test_of_batches() -> None:
    """Searches that share a session have the alternatives of their own rows."""
    rows = [table(seed) for seed in range(4)]
    wanted = [(replace(SETTINGS, num_beams=beams), None) for beams in (1, 3, 3, 2)]
    for (generation, _), own in zip(generate_together(BatchTableSession(rows, CANDIDATES), wanted), rows, strict=True):
        assert_own(generation, own)


@pytest.mark.parametrize("beams", [1, 3])
def test_of_structured_answers(beams: int) -> None:
    """Objects that remain have their own alternatives, those that the structure does not permit among them."""
    tokenizer = Tokenizer(tiny_tokenizer())
    words = Vocabulary.of(tokenizer, 1600)
    rows = np.random.default_rng(0).normal(scale=2, size=(67, 1600)).astype(np.float32)
    rows[:, words.locations] += 4
    settings = replace(SETTINGS, num_beams=beams, no_repeat_ngram_size=0)
    grammar = make_grammar(TASKS["<REGION_PROPOSAL>"], None, words, settings)
    generation = generate(TableSession(rows, CANDIDATES), settings, structure=grammar)
    assert len(generation.token_ids) == 2 + 5 * 4 + 1  # start, <s>, five boxes and the end; a sixth has no room
    assert_own(generation, rows, 2 + 5 * 4 - 1)
    chosen = zip(generation.token_ids[1:-1], map(generation.alternatives.at, range(1, 22)), strict=True)
    assert any(token not in one.token_ids.tolist() for token, one in chosen if one)
