"""The whole search: greedy with one beam, beam search with more, and the sequence that comes out of it.

One loop serves every engine.  It follows transformers 5.23 (docs/florence2.md#search).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from f2edge.decoding.beam import beam_search
from f2edge.decoding.constraints import max_length
from f2edge.decoding.greedy import greedy_search
from f2edge.decoding.session import Alternatives, Candidates
from f2edge.decoding.steps import Found, finish, progress, recorded
from f2edge.decoding.stopping import NEVER
from f2edge.decoding.structure import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from f2edge.decoding.session import DecoderSession
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.decoding.steps import Search
    from f2edge.decoding.stopping import StopSignal
    from f2edge.decoding.structure import Structure


@dataclass(frozen=True)
class Generation:
    """The best sequence of a search.

    Args:
        token_ids: the whole sequence as transformers returns it, from the decoder start token: 2, 0, ..., 2.
        token_logprobs: the log-probability of each token after the start, 0 for a forced one.  It is relative to the
            whole vocabulary in beam search, and to the tokens that are not banned in greedy search.
        score: the sum of ``token_logprobs`` / their number ** length_penalty, by which beam search ranks.
        truncated: whether the sequence was cut at ``max_new_tokens``, with or without a forced end token, or stopped.
        alternatives: what each of those tokens was chosen from.
    """

    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    score: float
    truncated: bool
    alternatives: Alternatives = field(default=Alternatives(), compare=False, repr=False)


def generate(
    session: DecoderSession,
    settings: GenerationSettings,
    signal: StopSignal = NEVER,
    structure: Structure | None = None,
) -> Generation:
    """Search for the best sequence: greedy with one beam, beam search with more (docs/florence2.md#search).

    Args:
        session: fresh, no step taken yet.
        settings: the search's settings.
        signal: ends the search between two steps; what was decided until then is ``truncated``.
        structure: what the answer is held to; it ends with its last whole object.

    Raises:
        DeviceError: the decoder's scores are not finite.
    """
    seen = list[Candidates]()
    found = finish(search(settings, seen, signal, structure), session)
    return generation(found, settings, seen, signal, structure)


def search(
    settings: GenerationSettings,
    seen: list[Candidates],
    signal: StopSignal = NEVER,
    structure: Structure | None = None,
) -> Search:
    """Begin a search for one answer: greedy with one beam, beam search with more; ``seen`` gets its candidates."""
    one = (greedy_search if settings.num_beams == 1 else beam_search)(settings, signal, structure)
    return recorded(one, seen)


def decide(
    session: DecoderSession,
    settings: GenerationSettings,
    signal: StopSignal = NEVER,
    structure: Structure | None = None,
) -> Iterator[Generation]:
    """Search as :func:`generate` does, and yield what is decided of the answer, longer and longer.

    In beam search a token is decided once all sequences that may still win have it.

    Args:
        session: fresh, no step taken yet.
        settings: the search's settings.
        signal: ends the search between two steps.
        structure: what the answer is held to.

    Yields:
        Beginnings of the answer, marked as truncated; the last one is what :func:`generate` returns.  The others may
        end within an object that a structured answer leaves out, because there is no room for the whole of it.

    Raises:
        DeviceError: the decoder's scores are not finite.
    """
    seen = list[Candidates]()
    steps, length = progress(search(settings, seen, signal, structure), session), 1
    while True:
        try:
            decided = next(steps).decided()
        except StopIteration as end:
            yield generation(end.value, settings, seen, signal, structure)
            return
        if len(decided.token_ids) > length:
            length = len(decided.token_ids)
            yield replace(generation(Found(decided, 0.0), settings, seen), truncated=True)


def generation(
    found: Found,
    settings: GenerationSettings,
    seen: Sequence[Candidates],
    signal: StopSignal = NEVER,
    structure: Structure | None = None,
) -> Generation:
    """Return what a search has found; it is truncated at the longest length, or where the search was stopped."""
    token_ids, logprobs = found.best.token_ids.tolist(), found.best.logprobs.tolist()
    by_itself = settings.forced_eos_token_id is None and token_ids[-1] in settings.end_token_ids
    truncated = len(token_ids) == max_length(settings) and not by_itself
    truncated = truncated or signal.reason is not None
    alternatives = Alternatives(seen, found.best.rows)
    generation = Generation(tuple(token_ids), tuple(logprobs), found.score, truncated, alternatives)
    return _whole(generation, settings, signal, structure) if structure else generation


def _whole(
    generation: Generation, settings: GenerationSettings, signal: StopSignal, structure: Structure
) -> Generation:
    """Leave out an unfinished object at the end; the answer is truncated if what could have come had no room."""
    left = cut(generation.token_ids, structure, settings)
    truncated = left.limited or signal.reason is not None
    if len(left.kept) == len(generation.token_ids):
        return replace(generation, truncated=truncated)
    logprobs = tuple(generation.token_logprobs[position - 1] for position in left.kept[1:])
    score = sum(logprobs) / len(logprobs) ** settings.length_penalty if logprobs else 0.0
    token_ids = tuple(generation.token_ids[position] for position in left.kept)
    return Generation(token_ids, logprobs, score, truncated, generation.alternatives)  # an end token locates nothing
