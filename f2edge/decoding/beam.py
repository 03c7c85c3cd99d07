"""Beam search over any decoder session, as transformers 5.23 does it for one image (docs/florence2.md#beam-search).

The search works on the K best tokens of each beam.  It fetches all logits only if a token beyond those K could be
among the best 2B, or more if there are several end tokens.  All scores are float32, as in transformers.  A pool that no
longer accepts hypotheses is left out: it cannot occur with a single image, whose search has ended by then.

At a tie the lower beam wins, then the lower token id: the order of the flattened (beam * vocabulary + token) index.
``torch.topk`` promises no order, so the two may differ at an exact tie.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from f2edge.decoding.constraints import certain_token, max_length
from f2edge.decoding.processors import Scores, need_all_scores, process
from f2edge.decoding.steps import Found, Hypothesis, StepRequest
from f2edge.decoding.stopping import NEVER
from f2edge.decoding.structure import Limits, per_beam

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.session import StepScores
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.decoding.steps import Search
    from f2edge.decoding.stopping import StopSignal
    from f2edge.decoding.structure import State, Structure

# Added to the scores of beams that only fill up the first step, and of sequences that have ended.
_OUT = np.float32(-1e9)


@dataclass(frozen=True)
class _Beams:
    """The B running beams, best first.

    While ``shared``, all beams are copies of one sequence; only the first has a real score, and the session keeps one
    row.  Only a structured answer has ``states``; its beams that cannot go on have scores of -inf.
    """

    sequences: IntArray  # (B, length)
    logprobs: FloatArray  # (B, length - 1)
    origins: IntArray  # (B, length - 1) the session's row whose scores each token was chosen from
    scores: FloatArray  # (B,) sums of the log-probabilities
    rows: IntArray  # (B,) the session's row that each beam continues
    shared: bool
    states: tuple[State, ...] = ()  # B of them

    def hypothesis(self, beam: int, token_id: int, logprob: float) -> Hypothesis:
        return Hypothesis(
            np.append(self.sequences[beam], token_id),
            np.append(self.logprobs[beam], np.float32(logprob)),
            np.append(self.origins[beam], 0 if self.shared else beam),
        )


class _Continuations(NamedTuple):
    """Continuations of the running beams, best first, each (n,)."""

    beams: IntArray
    token_ids: IntArray
    logprobs: FloatArray  # of the token alone
    scores: FloatArray  # of the sequence


@dataclass(frozen=True)
class _Finished:
    """The B best finished hypotheses, best first; free places come last, with a score of -1e9."""

    scores: FloatArray  # (B,) with the length penalty
    hypotheses: list[Hypothesis]

    def found(self) -> list[IntArray]:
        """Return the sequences of the places that are not free."""
        return [one.token_ids for one, score in zip(self.hypotheses, self.scores, strict=True) if score > _OUT]

    @property
    def full(self) -> bool:
        return bool(self.scores[-1] > _OUT)


def _shared(beams: _Beams, finished: _Finished) -> Hypothesis:
    """Return the longest beginning of all running beams and finished hypotheses."""
    running = list(beams.sequences[beams.scores > -np.inf])
    sequences = running + finished.found()
    length = min(_common(sequences[0], other) for other in sequences)
    if not running:
        _, logprobs, origins = finished.hypotheses[0]
    else:
        logprobs, origins = beams.logprobs[0], beams.origins[0]
    return Hypothesis(sequences[0][:length], logprobs[: length - 1], origins[: length - 1])


def _common(left: IntArray, right: IntArray) -> int:
    """Count the tokens that two sequences have in common from their beginning on."""
    length = min(len(left), len(right))
    differ = np.flatnonzero(left[:length] != right[:length])
    return int(differ[0]) if len(differ) else length


def beam_search(settings: GenerationSettings, signal: StopSignal = NEVER, structure: Structure | None = None) -> Search:
    """Search with several beams.

    If the signal asks to stop, the answer is the best sequence so far, finished or not.
    """
    beams, finished = _start(settings, structure)
    searching = True
    while searching:
        if signal.requested():
            return _best_so_far(beams, finished, settings)
        candidates = yield from _candidates(beams, finished, settings, structure)
        ended = _ended(beams, candidates, settings)
        finished = _collect(finished, beams, candidates, ended, settings)
        beams = _advance(beams, candidates, ended, settings)
        searching = not ended.all() and _goes_on(beams, finished, settings)
    return Found(finished.hypotheses[0], float(finished.scores[0]))


def _best_so_far(beams: _Beams, finished: _Finished, settings: GenerationSettings) -> Found:
    tokens = beams.sequences.shape[1] - 1
    score = float(beams.scores[0] / np.float32(_penalty(tokens, settings))) if tokens else 0.0
    if finished.scores[0] >= score:
        return Found(finished.hypotheses[0], float(finished.scores[0]))
    return Found(Hypothesis(beams.sequences[0], beams.logprobs[0], beams.origins[0]), score)


def _start(settings: GenerationSettings, structure: Structure | None) -> tuple[_Beams, _Finished]:
    B = settings.num_beams
    sequences = np.full((B, 1), settings.decoder_start_token_id, dtype=np.int64)
    logprobs, origins = np.empty((B, 0), dtype=np.float32), np.empty((B, 0), dtype=np.int64)
    scores = np.full(B, _OUT)
    free = _Finished(scores.copy(), [Hypothesis(sequences[0], logprobs[0], origins[0])] * B)
    scores[0] = 0.0
    states = (structure.start,) * B if structure else ()
    return _Beams(sequences, logprobs, origins, scores, np.zeros(B, dtype=np.int64), shared=True, states=states), free


def _candidates(
    beams: _Beams, finished: _Finished, settings: GenerationSettings, structure: Structure | None
) -> Generator[StepRequest, StepScores, _Continuations]:
    """Take one step and keep the best continuations; a forced token is the only one of each beam."""
    length = beams.sequences.shape[1]
    certain = certain_token(length, settings)
    if certain is None and structure:
        return _choose_permitted((yield _request(beams, finished)), beams, settings, structure)
    if certain is None:
        return _choose((yield _request(beams, finished)), beams, settings)
    if length + 1 < max_length(settings):
        yield _request(beams, finished)  # for its keys and values alone
    zeros = np.zeros_like(beams.scores)
    return _Continuations(np.arange(len(zeros)), np.full(len(zeros), certain, np.int64), zeros, beams.scores)


def _request(beams: _Beams, finished: _Finished) -> StepRequest:
    rows = 1 if beams.shared else len(beams.scores)
    return StepRequest(beams.sequences[:rows, -1], beams.rows[:rows], partial(_shared, beams, finished))


def _choose(step: StepScores, beams: _Beams, settings: GenerationSettings) -> _Continuations:
    """Return the best of the K candidates per beam if no other token can be among them, else of all tokens."""
    if need_all_scores(beams.sequences.shape[1], settings):
        return _choose_from_all(step, beams, settings)
    token_ids = per_beam(step.token_ids, settings.num_beams)
    logprobs = per_beam(step.logits - step.log_sum_exp[:, None], settings.num_beams)
    # No token that is not a candidate can score more than this.
    unseen = np.max(logprobs[:, -1] + beams.scores)
    process(Scores(logprobs, token_ids), beams.sequences, settings)
    best = _best(token_ids, logprobs, beams.scores, _kept(settings))
    if len(best.scores) == _kept(settings) and best.scores[-1] > unseen:
        return best
    return _choose_from_all(step, beams, settings)


def _choose_from_all(step: StepScores, beams: _Beams, settings: GenerationSettings) -> _Continuations:
    logprobs = per_beam(step.fetch_logits() - step.log_sum_exp[:, None], settings.num_beams)
    process(Scores(logprobs), beams.sequences, settings)
    token_ids = np.broadcast_to(np.arange(logprobs.shape[1]), logprobs.shape)
    return _best(token_ids, logprobs, beams.scores, _kept(settings))


def _kept(settings: GenerationSettings) -> int:
    """Return how many continuations a step keeps: enough that B of them go on, whatever ends."""
    return max(2, 1 + len(settings.end_token_ids)) * settings.num_beams


def _choose_permitted(
    step: StepScores, beams: _Beams, settings: GenerationSettings, structure: Structure
) -> _Continuations:
    """Return the best of what the structure permits, of the K candidates per beam if no other token can be better."""
    running = np.where(beams.scores > _OUT / 2, beams.scores, -np.inf)  # copies of the first beam end here
    states = [state if score > -np.inf else None for state, score in zip(beams.states, running.tolist(), strict=True)]
    limits = Limits.of(states, structure, beams.sequences.shape[1], settings)
    scores = limits.among_candidates(step, beams.sequences, settings)
    if scores:
        best = _best(scores.token_ids, scores.values, running, _kept(settings))
        last = per_beam(step.logits[:, -1] - step.log_sum_exp, settings.num_beams) + running
        unseen = last[~scores.complete].max(initial=-np.inf)
        if len(best.scores) == _kept(settings) and (scores.complete.all() or best.scores[-1] > unseen):
            return best
    scores = limits.among_all(step, beams.sequences, settings)
    return _best(scores.token_ids, scores.values, running, _kept(settings))


def _best(token_ids: IntArray, logprobs: FloatArray, running: FloatArray, count: int) -> _Continuations:
    """Return the ``count`` best of (B, n) continuations; all that tie with the last take part in the sort."""
    scores = logprobs + running[:, None]
    first = max(scores.size - count, 0)
    worst = np.partition(scores, first, axis=None)[first]
    beams, columns = np.nonzero(scores >= worst)
    order = np.lexsort((token_ids[beams, columns], beams, -scores[beams, columns]))[:count]
    beams, columns = beams[order], columns[order]
    return _Continuations(beams, token_ids[beams, columns], logprobs[beams, columns], scores[beams, columns])


def _ended(beams: _Beams, candidates: _Continuations, settings: GenerationSettings) -> NDArray[np.bool_]:
    at_limit = beams.sequences.shape[1] + 1 >= max_length(settings)
    ends = np.array(settings.end_token_ids, np.int64)
    ended: NDArray[np.bool_] = (candidates.token_ids[:, None] == ends).any(axis=1) | at_limit  # faster than numpy.isin
    return ended


def _collect(
    finished: _Finished,
    beams: _Beams,
    candidates: _Continuations,
    ended: NDArray[np.bool_],
    settings: GenerationSettings,
) -> _Finished:
    """Add finished candidates of the first B ranks to the pool; later ones are dropped, as in transformers."""
    B = settings.num_beams
    new = np.flatnonzero(ended[:B])
    if not len(new):
        return finished
    scores = np.append(finished.scores, candidates.scores[new] / _penalty(beams.sequences.shape[1], settings))
    hypotheses = finished.hypotheses + [
        beams.hypothesis(candidates.beams[i], candidates.token_ids[i], candidates.logprobs[i]) for i in new
    ]
    order = np.argsort(-scores, kind="stable")[:B]
    return _Finished(scores[order], [hypotheses[i] for i in order])


def _advance(
    beams: _Beams, candidates: _Continuations, ended: NDArray[np.bool_], settings: GenerationSettings
) -> _Beams:
    """Continue the B best candidates that have not ended."""
    scores = np.where(ended, -np.inf if beams.states else candidates.scores + _OUT, candidates.scores)
    chosen = np.argsort(-scores, kind="stable")[: settings.num_beams]
    parents, tokens = candidates.beams[chosen], candidates.token_ids[chosen]
    certain = certain_token(beams.sequences.shape[1], settings) is not None
    scored_in = np.zeros_like(parents) if beams.shared else parents
    return _Beams(
        sequences=np.concatenate([beams.sequences[parents], tokens[:, None]], axis=1),
        logprobs=np.concatenate([beams.logprobs[parents], candidates.logprobs[chosen, None]], axis=1),
        origins=np.concatenate([beams.origins[parents], scored_in[:, None]], axis=1),
        scores=scores[chosen],
        rows=scored_in,
        shared=beams.shared and certain,
        states=_after(beams.states, parents, tokens),
    )


def _after(states: tuple[State, ...], parents: IntArray, tokens: IntArray) -> tuple[State, ...]:
    """Return the state of each beam that continues a parent; without states, none."""
    if not states:
        return ()
    return tuple(states[parent].after(token) for parent, token in zip(parents.tolist(), tokens.tolist(), strict=True))


def _goes_on(beams: _Beams, finished: _Finished, settings: GenerationSettings) -> bool:
    """Tell whether a running beam may still beat the pool, by the rule of ``early_stopping``."""
    if settings.early_stopping is True and finished.full:
        return False
    length = beams.sequences.shape[1] - 1
    if settings.early_stopping == "never" and settings.length_penalty > 0:
        length = settings.max_new_tokens
    return bool(beams.scores[0] / np.float32(_penalty(length, settings)) > finished.scores[-1])


def _penalty(length: int, settings: GenerationSettings) -> float:
    return float(length**settings.length_penalty)
