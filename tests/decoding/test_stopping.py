"""Signals that stop an answer, and searches that are stopped between two steps."""

from __future__ import annotations

import math
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from f2edge.decoding import generate, stream
from f2edge.decoding.session import StepScores
from f2edge.decoding.settings import GenerationSettings
from f2edge.decoding.stopping import NEVER, StopRequestedError, StopSignal
from f2edge.errors import InputError

if TYPE_CHECKING:
    from f2edge.arrays import IntArray

VOCABULARY = 50
WHOLE = 12
"""Tokens of an answer that nothing stops."""


class Random:
    """A session of random scores, which sets an event in one of its steps.

    Args:
        event: the event.
        stop_at: the number of the step; 0 for the first.
    """

    def __init__(self, event: Event | None = None, stop_at: int = 0) -> None:
        self.steps = 0
        self._event = event
        self._stop_at = stop_at

    def step(self, tokens: IntArray, _beam_indices: IntArray) -> StepScores:
        """Score the next tokens by a generator that depends on the step alone."""
        if self._event and self.steps == self._stop_at:
            self._event.set()
        logits = np.random.default_rng(self.steps).normal(0, 2, (len(tokens), VOCABULARY)).astype(np.float32)
        self.steps += 1
        order = np.argsort(-logits, axis=1)
        total = np.log(np.exp(logits).sum(axis=1))
        return StepScores(order, np.take_along_axis(logits, order, axis=1), total, lambda: logits)


def settings(beams: int) -> GenerationSettings:
    """Return the settings of a search that ends at its limit only."""
    return GenerationSettings(num_beams=beams, max_new_tokens=WHOLE, eos_token_id=VOCABULARY + 1)


def test_a_signal_keeps_its_first_reason() -> None:
    """A signal asks to stop once its event is set, or once its time is up; the first reason stays."""
    event, other = Event(), Event()
    signal = StopSignal.of(1e-9, None)
    assert signal.requested()
    assert signal.reason == "timeout"
    signal = StopSignal.of(60, event, other)
    assert not signal.requested()
    other.set()
    assert signal.requested()
    assert signal.reason == "cancel"
    with pytest.raises(StopRequestedError):
        signal.raise_if_requested()


def test_without_a_deadline_nothing_stops() -> None:
    """A signal without deadline and events never asks to stop, and says so."""
    assert not NEVER.possible
    assert not NEVER.requested()
    assert StopSignal.of(math.inf).possible


@pytest.mark.parametrize("timeout", [0, -1, math.nan, "2", True])
def test_a_timeout_that_is_no_time(timeout: Any) -> None:
    """A timeout is a positive number of seconds."""
    with pytest.raises(InputError, match=r"^`timeout` is .*; give a positive number of seconds$"):
        StopSignal.of(timeout)


def test_a_flag_that_is_none() -> None:
    """Whoever cancels gives something that can be asked whether it is set."""
    with pytest.raises(InputError, match=r"^`cancel` is .*; give a threading\.Event$"):
        StopSignal.of(None, "now")  # type: ignore[arg-type]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("stop_at", [0, 1, 5])
def test_a_stopped_search_tells_what_it_had_decided(beams: int, stop_at: int) -> None:
    """The search takes no step after the one in which it was stopped, and returns the best sequence so far."""
    event = Event()
    session, signal = Random(event, stop_at), StopSignal.of(None, event)
    stopped = generate(session, settings(beams), signal)
    assert session.steps == stop_at + 1
    assert stopped.truncated
    one_more = replace(settings(beams), max_new_tokens=stop_at + 2)  # whose last token is the forced end
    assert stopped.token_ids == generate(Random(), one_more).token_ids[:-1]
    assert len(stopped.token_logprobs) == stop_at + 1


@pytest.mark.parametrize("beams", [1, 3])
def test_a_search_that_is_stopped_before_its_first_step(beams: int) -> None:
    """Nothing was decided: the sequence is the decoder's start token alone."""
    event = Event()
    event.set()
    stopped = generate(Random(), settings(beams), StopSignal.of(None, event))
    assert stopped.token_ids == (settings(beams).decoder_start_token_id,)
    assert stopped.token_logprobs == ()
    assert stopped.truncated


@pytest.mark.parametrize("beams", [1, 3])
def test_a_signal_that_comes_too_late_changes_nothing(beams: int) -> None:
    """An answer that is complete when it is cancelled is complete."""
    event = Event()
    late = generate(Random(event, WHOLE - 1), settings(beams), StopSignal.of(None, event))
    assert late == generate(Random(), settings(beams))


def test_a_stream_ends_where_it_is_stopped() -> None:
    """A stream yields the tokens until then."""
    event = Event()
    tokens = list(stream(Random(event, 3), settings(1), StopSignal.of(None, event)))
    assert tokens == list(stream(Random(), settings(1)))[:4]
