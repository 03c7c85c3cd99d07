"""The whole search: greedy with one beam, beam search with more, and the sequence that comes out of it.

One loop serves every engine.  It follows transformers 5.23 (docs/florence2.md#search).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from f2edge.decoding.beam import beam_search, search_steps
from f2edge.decoding.constraints import max_length
from f2edge.decoding.greedy import stream
from f2edge.decoding.stopping import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.decoding.beam import Hypothesis
    from f2edge.decoding.greedy import DecodedToken
    from f2edge.decoding.session import DecoderSession
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.decoding.stopping import StopSignal


@dataclass(frozen=True)
class Generation:
    """The best sequence of a search.

    Args:
        token_ids: the whole sequence as transformers returns it, from the decoder start token: 2, 0, ..., 2.
        token_logprobs: the log-probability of each token after the start, 0 for a forced one.  It is relative to the
            whole vocabulary in beam search, and to the tokens that are not banned in greedy search.
        score: the sum of ``token_logprobs`` / their number ** length_penalty, by which beam search ranks.
        truncated: whether the sequence was cut at ``max_new_tokens``, with or without a forced end token, or stopped.
    """

    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    score: float
    truncated: bool


def generate(session: DecoderSession, settings: GenerationSettings, signal: StopSignal = NEVER) -> Generation:
    """Search for the best sequence: greedy with one beam, beam search with more (docs/florence2.md#search).

    Args:
        session: fresh, no step taken yet.
        settings: the search's settings.
        signal: ends the search between two steps; what was decided until then is ``truncated``.

    Raises:
        DeviceError: the decoder's scores are not finite.
    """
    if settings.num_beams == 1:
        generation = _collect(stream(session, settings, signal), settings)
    else:
        generation = _found(*beam_search(session, settings, signal), settings)
    return _marked(generation, signal)


def decide(session: DecoderSession, settings: GenerationSettings, signal: StopSignal = NEVER) -> Iterator[Generation]:
    """Search as :func:`generate` does, and yield what is decided of the answer, longer and longer.

    In beam search a token is decided once all sequences that may still win have it.

    Args:
        session: fresh, no step taken yet.
        settings: the search's settings.
        signal: ends the search between two steps.

    Yields:
        Beginnings of the answer, marked as truncated; the last one is what :func:`generate` returns.

    Raises:
        DeviceError: the decoder's scores are not finite.
    """
    if settings.num_beams > 1:
        return _decided_beams(session, settings, signal)
    return _decided_tokens(stream(session, settings, signal), settings, signal)


def _decided_tokens(
    tokens: Iterator[DecodedToken], settings: GenerationSettings, signal: StopSignal
) -> Iterator[Generation]:
    decoded: list[DecodedToken] = []
    for token in tokens:
        decoded.append(token)
        yield replace(_collect(iter(decoded), settings), truncated=True)
    yield _marked(_collect(iter(decoded), settings), signal)


def _decided_beams(session: DecoderSession, settings: GenerationSettings, signal: StopSignal) -> Iterator[Generation]:
    steps, length = search_steps(session, settings, signal), 1
    while True:
        try:
            shared = next(steps).shared()
        except StopIteration as end:
            best, score = end.value
            yield _marked(_found(best, score, settings), signal)
            return
        if len(shared.token_ids) > length:
            length = len(shared.token_ids)
            yield replace(_found(shared, 0.0, settings), truncated=True)


def _marked(generation: Generation, signal: StopSignal) -> Generation:
    """Mark what a search had decided when it was stopped as truncated."""
    return replace(generation, truncated=True) if signal.reason else generation


def _found(best: Hypothesis, score: float, settings: GenerationSettings) -> Generation:
    return _generation(best.token_ids.tolist(), best.logprobs.tolist(), score, settings)


def _collect(tokens: Iterator[DecodedToken], settings: GenerationSettings) -> Generation:
    decoded = list(tokens)
    logprobs = [token.logprob for token in decoded]
    score = sum(logprobs) / len(logprobs) ** settings.length_penalty if logprobs else 0.0
    return _generation(
        [settings.decoder_start_token_id, *(token.token_id for token in decoded)], logprobs, score, settings
    )


def _generation(token_ids: list[int], logprobs: list[float], score: float, settings: GenerationSettings) -> Generation:
    by_itself = settings.forced_eos_token_id is None and token_ids[-1] in settings.end_token_ids
    truncated = len(token_ids) == max_length(settings) and not by_itself
    return Generation(tuple(token_ids), tuple(logprobs), score, truncated)
