"""Structured answers of random tables of logits: a plain check takes each apart, whatever the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from f2edge.decoding import decide, generate, stream
from f2edge.decoding.settings import GenerationSettings
from f2edge.decoding.structure import whole_objects
from f2edge.tasks.shapes import FORMS
from f2edge.tasks.structured import make_grammar
from f2edge.tasks.table import TASKS
from f2edge.tasks.vocabulary import Vocabulary
from f2edge.tokenizer import Tokenizer
from tests.support.checkpoints import tiny_tokenizer
from tests.support.searches import EOS, random_search
from tests.support.structure import check_answer
from tests.support.table_session import TableSession

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.session import StepScores

VOCAB = 1600
LOCATING = [task for task in TASKS.values() if task.parser in FORMS]
LABELS = ("red car", "red", "Locate it", "x\u00e9", "\u20ac")
TOKENIZER = Tokenizer(tiny_tokenizer())
WORDS = Vocabulary.of(TOKENIZER, VOCAB)


def table_of(rng: np.random.Generator) -> FloatArray:
    """Return random logits; now text, now locations, few of them, tags or the end are likely."""
    table = rng.normal(scale=2, size=(67, VOCAB)).astype(np.float32)
    table[:, WORDS.locations] += rng.choice([-3, 0, 2, 4])
    table[:, WORDS.locations[5:]] -= rng.choice([0, 8])
    table[:, EOS] += rng.choice([0, 4, 6])
    table[:, [WORDS.open_mask, WORDS.close_mask, WORDS.separator]] += rng.choice([0, 6, 8])
    return table


def settings_of(rng: np.random.Generator) -> GenerationSettings:
    """Return settings that differ from the usual ones in half of the cases, with one end token."""
    if rng.random() < 0.5:
        return replace(random_search(rng, VOCAB, 40), eos_token_id=EOS)
    return GenerationSettings(num_beams=int(rng.choice([1, 3])), max_new_tokens=int(rng.integers(2, 40)))


@pytest.mark.parametrize("task", LOCATING, ids=lambda task: task.name)
@pytest.mark.parametrize("seed", range(4))
def test_only_whole_objects_come(seed: int, task: object) -> None:
    """Every answer is whole, does not depend on the number of candidates, and ``decide`` ends with it."""
    assert task in LOCATING
    asked = LOCATING[LOCATING.index(task)]  # type: ignore[arg-type]
    rng = np.random.default_rng([seed, LOCATING.index(asked)])
    table, settings = table_of(rng), settings_of(rng)
    labels = LABELS[: rng.integers(1, 6)] if asked.labelled and rng.random() < 0.5 else None
    grammar = make_grammar(asked, labels, WORDS, settings)
    answer = generate(TableSession(table, int(rng.choice([1, 4, 32]))), settings, structure=grammar)
    check_answer(asked, answer.token_ids, TOKENIZER, labels or ())
    assert answer.token_ids == generate(TableSession(table, VOCAB), settings, structure=grammar).token_ids
    *_, last = decide(TableSession(table, 32), settings, structure=grammar)
    assert last.token_ids == answer.token_ids


def forced_table(*answer: int) -> FloatArray:
    """Return logits of which the tokens of an answer stand out, in turn, whatever came before."""
    table = np.zeros((len(answer), VOCAB), np.float32)
    table[:, EOS] = -9  # else it ties with all others, and three early ends stop a search with three beams
    table[np.arange(len(answer)), answer] = 20
    return table


class Script(TableSession):
    """A session whose n-th step has the n-th row of a table."""

    def step(self, tokens: IntArray, _beam_indices: IntArray) -> StepScores:
        """Return the scores of this step, the same for all beams."""
        self.widths.append(len(tokens))
        rows = np.repeat(self.table[len(self.widths) - 1 : len(self.widths)], len(tokens), axis=0)
        return self._scores(rows, len(self.widths))


def ids(text: str) -> list[int]:
    """Return the tokens of an answer, without begin and end."""
    return TOKENIZER.encode(text)[1:-1]


BOX, OTHER = "<loc_1><loc_2><loc_30><loc_40>", "<loc_5><loc_6><loc_7><loc_8>"


def answer_of(
    text: str, settings: GenerationSettings, task: str = "<OD>", labels: tuple[str, ...] | None = None
) -> str:
    """Return the structured answer of a model that wants to say a text."""
    grammar = make_grammar(TASKS[task], labels, WORDS, settings)
    wanted = [0, *ids(text), *[EOS] * 60]
    found = generate(Script(forced_table(*wanted), 32), settings, structure=grammar)
    return TOKENIZER.decode(found.token_ids[2:-1]) + (" ..." if found.truncated else "")


GREEDY = GenerationSettings(num_beams=1, max_new_tokens=40)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_whole_answer_stays_as_it_is(num_beams: int) -> None:
    """What has its structure already is not changed."""
    settings = replace(GREEDY, num_beams=num_beams, no_repeat_ngram_size=0)
    for task, text in (
        ("<OD>", f"red car{BOX}{OTHER}boat{BOX}"),
        ("<OCR_WITH_REGION>", f"a<b{BOX}{OTHER}c{OTHER}{BOX}"),
    ):
        assert answer_of(text, settings, task) == text


def test_an_object_without_room_is_left_out() -> None:
    """With a limit within the second object the answer ends after the first, and says that it is truncated."""
    text = f"car{BOX}red boat{OTHER}"
    length = len(ids(text)) + 2
    assert answer_of(text, replace(GREEDY, max_new_tokens=length)) == text + " ..."
    for limit in range(length - len(ids(f"red boat{OTHER}")), length):
        assert answer_of(text, replace(GREEDY, max_new_tokens=limit)) == f"car{BOX} ..."


def test_coordinates_are_ordered() -> None:
    """A box whose x2 is left of its x1 gets the best x2 that is not."""
    answer = answer_of("car<loc_50><loc_2><loc_30><loc_40>", GREEDY)
    bins = [token - int(WORDS.locations[0]) for token in ids(answer)[-4:]]
    assert bins[2] >= bins[0] == 50


def test_no_box_comes_twice() -> None:
    """The same box of the same label differs in a coordinate; of another label it may be the same."""
    settings = replace(GREEDY, no_repeat_ngram_size=0)
    assert answer_of(f"car{BOX}boat{BOX}", settings) == f"car{BOX}boat{BOX}"
    assert answer_of(f"car{BOX}{BOX}", settings) != f"car{BOX}{BOX}"


def test_structure_wins_over_settings() -> None:
    """A label of three tokens comes again despite the trigram ban, and the end comes despite a minimal length."""
    assert len(ids("Locate the objects")) >= 3
    again = f"Locate the objects{BOX}Locate the objects{OTHER}"
    assert answer_of(again, GREEDY, labels=("Locate the objects",)) == again
    assert answer_of(f"car{BOX}", replace(GREEDY, max_new_tokens=len(ids(f"car{BOX}")) + 3, min_length=99)).endswith(
        "..."
    )


def test_a_minimal_length_is_kept_while_there_is_room() -> None:
    """Before the minimal length another object comes in place of the end."""
    settings = replace(GREEDY, min_length=20)
    grammar = make_grammar(TASKS["<OD>"], None, WORDS, settings)
    table = forced_table(0, *ids(f"car{BOX}"), *[EOS] * 60)
    table[:, WORDS.locations[900:]] += 3
    answer = generate(Script(table, 32), settings, structure=grammar)
    assert len(answer.token_ids) > 20
    assert len(check_answer(TASKS["<OD>"], answer.token_ids, TOKENIZER)) > 1


def test_a_stream_has_whole_objects() -> None:
    """The tokens of a stream come object by object; the object that has no room does not come."""
    settings = replace(GREEDY, max_new_tokens=len(ids(f"car{BOX}boat")) + 3)
    grammar = make_grammar(TASKS["<OD>"], None, WORDS, settings)
    session = Script(forced_table(0, *ids(f"car{BOX}boat{OTHER}"), EOS), 32)
    tokens = (token.token_id for token in stream(session, settings, structure=grammar))
    assert TOKENIZER.decode(list(whole_objects(tokens, grammar))) == f"<s>car{BOX}"
