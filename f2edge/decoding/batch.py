"""Many searches over one session: they take their steps together, and each goes its own way.

All begin at the same time, so they are at the same position at every step, and need no mask for the tokens before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from f2edge.decoding.search import generation, search
from f2edge.decoding.session import finite
from f2edge.decoding.stopping import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.arrays import IntArray
    from f2edge.decoding.search import Generation
    from f2edge.decoding.session import BatchSession, Candidates, StepScores
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.decoding.steps import Found, StepRequest
    from f2edge.decoding.stopping import StopSignal
    from f2edge.decoding.structure import Structure

Wanted: TypeAlias = "tuple[GenerationSettings, Structure | None]"

_KEPT_SHARE = 0.5
"""Questions that have ended leave the batch once at most this share goes on: leaving copies the keys and values of the
others, about as much work as a few steps."""


def generate_together(
    session: BatchSession, wanted: Sequence[Wanted], signal: StopSignal = NEVER
) -> list[tuple[Generation, int]]:
    """Search for the answers to several questions, each as :func:`f2edge.decoding.generate` does.

    Args:
        session: fresh, with as many questions as there are searches.
        wanted: the settings of each search, and the structure that its answer must have, or None.
        signal: ends all searches between two steps; what was decided until then is ``truncated``.

    Returns:
        For each question the sequence, and the number of steps that its search took.

    Raises:
        DeviceError: the decoder's scores are not finite.
    """
    batch = _Batch(session, wanted, signal)
    while batch.requests:
        batch.step()
    return [
        (generation(batch.found[k], settings, batch.seen[k], signal, structure), batch.steps[k])
        for k, (settings, structure) in enumerate(wanted)
    ]


class _Batch:
    """The searches that still go on, and the rows of the session that they have.

    Args:
        session: fresh.
        wanted: the settings and the structure of each search.
        signal: ends all searches.
    """

    def __init__(self, session: BatchSession, wanted: Sequence[Wanted], signal: StopSignal) -> None:
        self.found: dict[int, Found] = {}
        self.requests: dict[int, StepRequest] = {}
        self.steps = [0] * len(wanted)
        self.seen: list[list[Candidates]] = [[] for _ in wanted]
        self._session = session
        self._searches = [
            search(settings, seen, signal, structure)
            for (settings, structure), seen in zip(wanted, self.seen, strict=True)
        ]
        self._places = list(range(len(wanted)))  # the question at each place of the session
        self._first_rows = dict.fromkeys(self._places, 0)  # of each question, in the previous step
        for question in self._places:
            self._advance(question, None)

    def step(self) -> None:
        """Take one step of all searches that go on."""
        self._leave()
        width = max(len(request.tokens) for request in self.requests.values())
        inputs = [self._rows(question, width) for question in self._places]
        tokens, rows = (np.concatenate(part) for part in zip(*inputs, strict=True))
        scores = self._session.step(tokens, rows)
        for place, question in enumerate(self._places):
            self._first_rows[question] = place * width
            if question in self.requests:
                self.steps[question] += 1
                beams = len(self.requests[question].tokens)
                self._advance(question, _part(scores, slice(place * width, place * width + beams)))

    def _leave(self) -> None:
        """Let the questions that have ended leave the session, once that pays."""
        going_on = [place for place, question in enumerate(self._places) if question in self.requests]
        if len(going_on) <= _KEPT_SHARE * len(self._places):
            self._session.keep(np.array(going_on))
            self._places = [self._places[place] for place in going_on]

    def _rows(self, question: int, width: int) -> tuple[IntArray, IntArray]:
        """Return tokens and previous rows, (width,) each; the last beam fills up, and so does what has ended."""
        request = self.requests.get(question)
        if request is None:
            return np.zeros(width, np.int64), np.full(width, self._first_rows[question])
        beams = np.minimum(np.arange(width), len(request.tokens) - 1)
        return request.tokens[beams], self._first_rows[question] + request.beam_indices[beams]

    def _advance(self, question: int, scores: StepScores | None) -> None:
        """Send a search its scores, and note what it asks for next, or what it has found."""
        try:
            one = self._searches[question]
            self.requests[question] = next(one) if scores is None else one.send(finite(scores))
        except StopIteration as end:
            self.requests.pop(question, None)
            self.found[question] = end.value


def _part(scores: StepScores, rows: slice) -> StepScores:
    return replace(
        scores,
        token_ids=scores.token_ids[rows],
        logits=scores.logits[rows],
        log_sum_exp=scores.log_sum_exp[rows],
        fetch_logits=lambda: scores.fetch_logits()[rows],
    )
