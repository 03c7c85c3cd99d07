"""Searches that share a session: each finds exactly what it finds alone."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest

from f2edge.decoding import generate, generate_together
from f2edge.decoding.settings import GenerationSettings
from f2edge.decoding.stopping import StopSignal
from f2edge.errors import DeviceError
from tests.support.table_session import BatchTableSession, TableSession

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray

CANDIDATES = 32
SETTINGS = GenerationSettings(num_beams=3, max_new_tokens=24)


def tables(count: int, seed: int = 0) -> list[FloatArray]:
    """Return one table of logits for each question; their answers end after very different numbers of tokens."""
    rng = np.random.default_rng(seed)
    rows = [3 * rng.standard_normal((997, 60)).astype(np.float32) for _ in range(count)]
    for number, table in enumerate(rows):
        table[:, 2] += number % 4  # the end token
    return rows


@pytest.mark.parametrize("beams", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(5))
def test_each_finds_what_it_finds_alone(beams: int, seed: int) -> None:
    """Tokens, log-probabilities, scores and the number of steps are those of the search with a session of its own."""
    settings = replace(SETTINGS, num_beams=beams)
    together = generate_together(BatchTableSession(tables(7, seed), CANDIDATES), [(settings, None)] * 7)
    for (generation, steps), table in zip(together, tables(7, seed), strict=True):
        alone = TableSession(table, CANDIDATES)
        assert generation == generate(alone, settings)
        assert steps == len(alone.widths)


def test_each_has_its_own_settings() -> None:
    """Beams, lengths and bans may differ within a batch; unused rows repeat the last beam."""
    settings = [
        replace(SETTINGS, num_beams=1),
        replace(SETTINGS, num_beams=4, length_penalty=2.0),
        replace(SETTINGS, num_beams=2, no_repeat_ngram_size=0),
        replace(SETTINGS, max_new_tokens=1),
        replace(SETTINGS, num_beams=1, max_new_tokens=40, forced_eos_token_id=None),
    ]
    together = generate_together(BatchTableSession(tables(5), CANDIDATES), [(one, None) for one in settings])
    alone = [generate(TableSession(table, CANDIDATES), one) for table, one in zip(tables(5), settings, strict=True)]
    assert [generation for generation, _ in together] == alone


def test_all_logits_are_those_of_the_question() -> None:
    """A search that needs more than the candidates gets the rest of its own rows."""
    settings = [replace(SETTINGS, no_repeat_ngram_size=1), replace(SETTINGS, num_beams=2, no_repeat_ngram_size=1)] * 2
    session = BatchTableSession(tables(4), 8)
    together = generate_together(session, [(one, None) for one in settings])
    alone = [generate(TableSession(table, 8), one) for table, one in zip(tables(4), settings, strict=True)]
    assert [generation for generation, _ in together] == alone
    assert session.fetches


def test_questions_that_ended_leave_the_batch() -> None:
    """The session goes on with fewer questions once half of them have ended."""
    session = BatchTableSession(tables(8), CANDIDATES)
    generate_together(session, [(replace(SETTINGS, num_beams=1), None)] * 8)
    assert session.questions[0] == 8
    assert session.questions[-1] <= 4


def test_a_signal_ends_all() -> None:
    """What was decided until then is truncated, as of a single search."""
    cancel = Event()
    cancel.set()
    stopped = generate_together(
        BatchTableSession(tables(2), CANDIDATES), [(SETTINGS, None)] * 2, StopSignal(None, cancel)
    )
    assert [(generation.token_ids, generation.truncated) for generation, _ in stopped] == [((2,), True)] * 2


def test_scores_that_are_not_finite_are_refused() -> None:
    """One question with an overflow fails the batch, in the words of a single search."""
    broken = tables(3)
    broken[1][:] = np.inf
    with pytest.raises(DeviceError, match="not finite"), np.errstate(invalid="ignore"):
        generate_together(BatchTableSession(broken, CANDIDATES), [(SETTINGS, None)] * 3)
