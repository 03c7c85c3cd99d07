"""f2edge's own bundles, through its public verbs; OpenVINO and ONNX Runtime alike."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fresh_process import FIRST_TOKEN
from measuring import WholeModel, around, decoded_photograph, photograph, timed, timings
from workload import AROUND, TASKS

import f2edge
from f2edge.decoding import generate
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from artefacts import Cache
    from measuring import Samples
    from workload import Workload

    from f2edge.arrays import IntArray
    from f2edge.decoding.session import DecoderSession, StepScores
    from f2edge.decoding.settings import GenerationSettings


class Bundle(WholeModel):
    """A bundle of the cache, by its artefact's name."""

    def __init__(self, workload: Workload, cache: Cache, bundle: str) -> None:
        super().__init__(workload)
        self._photograph = photograph(cache)
        self.picture = decoded_photograph(cache)
        self.model = f2edge.load(cache.get(bundle))
        self.image = self.model.encode(self.picture)
        self._prompt = self.model.prompt_ids(build_prompt(resolve("caption"), None, None, self.image.size))

    def answer(self, case: str, tokens: int) -> str:
        """Through :meth:`f2edge.Florence2.run`."""
        return self.model.run(self.picture, TASKS[case], settings=self.settings(3, tokens)).plain_text

    def stages(self) -> dict[str, float]:
        """The encoder's time holds each layer's cross-attention keys and values."""
        start = self.model.runtime.start
        vision = self.model.encode(self.picture).timings_ms["vision"]
        return {"vision": vision, "encoder": timed(lambda: start(self.image.features, self._prompt))}

    def steps(self, num_beams: int) -> dict[int, list[float]]:
        """Of one long search."""
        positions = self.workload.positions
        session = _Clock(self.model.runtime.start(self.image.features, self._prompt))
        generate(session, self.settings(num_beams, max(positions) + AROUND + 3))
        return {position: around(session.done, 0, position) for position in positions}

    def measure(self) -> Samples:
        """And what only f2edge does: a second question about the same picture, and the first token alone."""
        settings = self.settings(3, self.workload.caption_tokens)
        return super().measure() | {
            "second_question": timings(lambda: self.image.run("caption", settings=settings)),
            "first_token": timings(lambda: self.model.run(self._photograph, "caption", max_new_tokens=FIRST_TOKEN)),
        }

    def settings(self, num_beams: int, tokens: int) -> GenerationSettings:
        """Exactly so many tokens: none ends an answer but the forced one."""
        settings = self.model.settings(num_beams, tokens)
        return replace(settings, eos_token_id=self.model.bundle.geometry.vocab_size)


class _Clock:
    """A session that notes when each of its steps was done."""

    def __init__(self, session: DecoderSession) -> None:
        self._session = session
        self.done: list[float] = []

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        scores = self._session.step(tokens, beam_indices)
        self.done.append(time.perf_counter())
        return scores
