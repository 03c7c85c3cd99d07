"""A decoder session without a model: its logits are rows of a table, as those of ``table_model``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.session import StepScores

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray

START = 2
"""The decoder start token."""


class TableSession:
    """A decoder session whose logits are a row of a table, chosen by a hash of the prefix.

    Like a real session, it keeps one state per beam, reordered by ``beam_indices``, and it refuses misuse.
    """

    def __init__(self, table: FloatArray, num_candidates: int, *, reverse_ties: bool = False) -> None:
        self.table = table
        self.num_candidates = min(num_candidates, table.shape[1])
        self.reverse_ties = reverse_ties
        self.states: IntArray = np.zeros(1, np.int64)
        self.widths: list[int] = []
        self.fetches = 0

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Take one step, as ``DecoderSession`` specifies."""
        assert tokens.dtype == beam_indices.dtype == np.int64
        assert tokens.shape == beam_indices.shape
        if not self.widths:
            assert tokens.tolist() == [START]
            assert beam_indices.tolist() == [0]
        self.states = (self.states[beam_indices] * 31 + tokens + 7) % len(self.table)
        self.widths.append(len(tokens))
        return self._scores(self.table[self.states], len(self.widths))

    def _scores(self, rows: FloatArray, step: int) -> StepScores:
        log_sum_exp = np.log(np.exp(rows.astype(np.float64)).sum(axis=1)).astype(np.float32)
        return StepScores(*self._candidates(rows), log_sum_exp, lambda: self._fetch(rows, step))

    def _candidates(self, rows: FloatArray) -> tuple[IntArray, FloatArray]:
        tokens = np.arange(rows.shape[1])
        ids = np.array([np.lexsort((-tokens if self.reverse_ties else tokens, -row)) for row in rows])
        ids = ids[:, : self.num_candidates]
        logits: FloatArray = np.take_along_axis(rows, ids, axis=1)
        return ids, logits

    def _fetch(self, rows: FloatArray, step: int) -> FloatArray:
        assert step == len(self.widths), "logits of an earlier step are gone"
        self.fetches += 1
        return np.array(rows)


def peaked_table(vocab: int = 2000) -> FloatArray:
    """Return logits like a trained model's: a few tokens stand out at each step, and none of them is the end token."""
    generator = np.random.default_rng(5)
    table = generator.normal(size=(997, vocab)).astype(np.float32) - 8
    standing_out = generator.integers(3, vocab, size=(997, 8))
    np.put_along_axis(table, standing_out, generator.normal(4, 2, size=(997, 8)).astype(np.float32), axis=1)
    return table


class BatchTableSession(TableSession):
    """A session of several questions, each with a table of its own."""

    def __init__(self, tables: list[FloatArray], num_candidates: int) -> None:
        super().__init__(tables[0], num_candidates)
        self.tables = tables
        self.questions: list[int] = []
        """How many questions took part in each step."""

    def keep(self, questions: IntArray) -> None:
        """Go on with some of the questions."""
        assert np.all(np.diff(questions) > 0)
        self.tables = [self.tables[question] for question in questions]

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Take one step of all questions, as ``BatchSession`` specifies."""
        assert len(tokens) % len(self.tables) == 0
        self.states = (self.states[beam_indices] * 31 + tokens + 7) % len(self.table)
        self.widths.append(len(tokens) // len(self.tables))
        self.questions.append(len(self.tables))
        of_questions = np.split(self.states, len(self.tables))
        rows = [table[states] for table, states in zip(self.tables, of_questions, strict=True)]
        return self._scores(np.concatenate(rows), len(self.widths))
