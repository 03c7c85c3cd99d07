"""Hold an answer to a structure: only tokens that continue it may come, and only whole objects remain.

A structure is an automaton over the tokens of one sequence (:mod:`f2edge.tasks.grammar` has those of Florence-2's
tasks).  It stands above the settings of the search: where these ban or force all that the structure permits, they do
not apply to that step of that sequence.  Log-probabilities are relative to the whole vocabulary, so a token that the
model would not have chosen has a low one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np

from f2edge.decoding.constraints import max_length
from f2edge.decoding.processors import Scores, need_all_scores, process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.decoding.session import StepScores
    from f2edge.decoding.settings import GenerationSettings


_AMPLE = 2**31
"""Room for any object."""

_Scalar = TypeVar("_Scalar", bound=np.generic)


class Tokens(Protocol):
    """A set of tokens."""

    @property
    def size(self) -> float:
        """How many tokens are in it, or infinite for many."""
        ...

    def among(self, token_ids: IntArray) -> NDArray[np.bool_]:
        """Tell which tokens are in it; both have the same shape."""
        ...

    def mark(self, mask: NDArray[np.bool_]) -> None:
        """Set a mask (vocabulary,) for each token in it, and perhaps for some that are not."""
        ...


class State(Protocol):
    """Where one sequence is in its structure; it never changes."""

    @property
    def whole(self) -> bool:
        """Whether the answer may end here."""
        ...

    def permitted(self, room: int) -> Tokens | None:
        """Return the tokens that may come next.

        Args:
            room: how many tokens may still come before the end token.

        Returns:
            None if there is no room for any token but the end.
        """
        ...

    def after(self, token_id: int) -> State:
        """Return the state after one more token."""
        ...


class Structure(Protocol):
    """What all answers to one question have in common."""

    @property
    def start(self) -> State:
        """The state after the decoder start token."""
        ...

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end an answer, at least one."""
        ...


class Permitted(NamedTuple):
    """The scores of what may come next in each beam; other tokens have -inf.

    Args:
        token_ids: (beams, n).
        values: (beams, n) log-probabilities.
        complete: (beams,) whether all tokens that may come are here.
    """

    token_ids: IntArray
    values: FloatArray
    complete: NDArray[np.bool_]


class Limits(NamedTuple):
    """What a structure permits at one step.

    Args:
        tokens: for each beam the tokens that may come, or None if it has to end.
        ends: the tokens that end an answer.
    """

    tokens: list[Tokens | None]
    ends: tuple[int, ...]

    @classmethod
    def of(
        cls, states: Sequence[State | None], structure: Structure, length: int, settings: GenerationSettings
    ) -> Limits:
        """Ask the states of sequences of this length; None stands for one that has to end."""
        room = _room(length, settings)
        return cls([None if state is None else state.permitted(room) for state in states], structure.ends)

    def among_candidates(self, step: StepScores, sequences: IntArray, settings: GenerationSettings) -> Permitted | None:
        """Return the scores of the K candidates of each beam.

        Returns:
            None if the settings need the scores of all tokens, or if so few tokens may come that they are hardly all
            among the candidates.
        """
        few = step.token_ids.shape[1]
        if need_all_scores(sequences.shape[1], settings) or all(not one or one.size <= few for one in self.tokens):
            return None
        logprobs = per_beam(step.logits - step.log_sum_exp[:, None], len(sequences))
        return self._hold(per_beam(step.token_ids, len(sequences)).copy(), logprobs, sequences, settings)

    def among_all(self, step: StepScores, sequences: IntArray, settings: GenerationSettings) -> Permitted:
        """Return the scores of all tokens that may come in any beam."""
        logits = step.fetch_logits()
        vocabulary = logits.shape[1]
        everything = need_all_scores(sequences.shape[1], settings)
        columns = np.arange(vocabulary) if everything else self._columns(vocabulary)
        logprobs = per_beam(logits[:, columns] - step.log_sum_exp[:, None], len(sequences))
        return self._hold(np.tile(columns, (len(sequences), 1)), logprobs, sequences, settings)

    def _columns(self, vocabulary: int) -> IntArray:
        """Return the tokens that may come in any beam, the end tokens among them."""
        mask = np.zeros(vocabulary, bool)
        mask[list(self.ends)] = True
        for tokens in self.tokens:
            if tokens is not None:
                tokens.mark(mask)
        return np.flatnonzero(mask)

    def _hold(
        self, token_ids: IntArray, values: FloatArray, sequences: IntArray, settings: GenerationSettings
    ) -> Permitted:
        """Change the scores as the settings say, and take away what the structure does not permit."""
        before, complete = values.copy(), np.ones(len(values), bool)
        process(Scores(values, token_ids), sequences, settings)
        barred = np.zeros(values.shape, bool)
        for beam, tokens in enumerate(self.tokens):
            if tokens is None:
                token_ids[beam], values[beam] = self.ends[0], -np.inf
                values[beam, 0] = 0  # as a forced token has
                continue
            allowed = tokens.among(token_ids[beam])
            np.logical_not(allowed, out=barred[beam])
            # text is never complete, and counting takes time
            complete[beam] = tokens.size <= len(allowed) and tokens.size <= np.count_nonzero(allowed)
            if complete[beam] and not np.isfinite(values[beam, allowed]).any():
                values[beam] = before[beam]
        values[barred] = -np.inf
        return Permitted(token_ids, values, complete)


def per_beam(rows: NDArray[_Scalar], num_beams: int) -> NDArray[_Scalar]:
    """Expand the rows of the session to one row per beam: a shared row belongs to all beams."""
    return rows if len(rows) == num_beams else np.repeat(rows, num_beams, axis=0)


def whole_objects(token_ids: Iterable[int], structure: Structure) -> Iterator[int]:
    """Yield the tokens of an answer, those of an object as soon as it is whole; what never is whole is left out."""
    state, held = structure.start, list[int]()
    for token_id in token_ids:
        held.append(token_id)
        state = state.after(token_id)
        if state.whole:
            yield from held
            held.clear()


class Cut(NamedTuple):
    """What remains of an answer.

    Args:
        kept: the positions of its tokens up to its last whole object, and of its end token if it has one.
        limited: whether it has none, or has it where something else that could have come had no room.
    """

    kept: list[int]
    limited: bool


def cut(token_ids: Sequence[int], structure: Structure, settings: GenerationSettings) -> Cut:
    """Find the end of the last whole object of an answer."""
    ended = len(token_ids) > 1 and (token_ids[-1] in structure.ends or len(token_ids) == max_length(settings))
    body = token_ids[:-1] if ended else token_ids
    state, whole = structure.start, 1
    for length, token_id in enumerate(body[1:], 2):
        state = state.after(token_id)
        whole = length if state.whole else whole
    limited = not ended or _lacks_room(state, _room(len(body), settings))
    return Cut([*range(whole), *range(len(body), len(token_ids))], limited)


def _lacks_room(state: State, room: int) -> bool:
    now, ample = state.permitted(room), state.permitted(_AMPLE)
    return ample is not None and (now is None or now.size < ample.size)


def _room(length: int, settings: GenerationSettings) -> int:
    """Count the tokens that may follow a sequence of this length before its end token."""
    return max_length(settings) - 1 - length
