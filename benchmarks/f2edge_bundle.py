"""Contender: a bundle of f2edge on OpenVINO or ONNX Runtime, driven through the public API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fresh_process import FIRST_TOKEN
from measuring import WholeModel, around, decoded_photograph, photograph, timed, timings
from workload import AROUND

import f2edge
from f2edge.decoding import generate
from f2edge.decoding.session import TimedSession
from f2edge.measuring.asking import search_settings
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from artefacts import Cache
    from measuring import Samples
    from workload import Workload

    from f2edge.decoding.settings import GenerationSettings


class Bundle(WholeModel):
    """A bundle of the cache.

    Args:
        workload: the model size and the lengths of the answers.
        cache: the cache that holds the bundle and the photograph.
        bundle: name of the bundle's artefact.
    """

    def __init__(self, workload: Workload, cache: Cache, bundle: str) -> None:
        super().__init__(workload)
        self._photograph = photograph(cache)
        self.picture = decoded_photograph(cache)
        self.model = f2edge.load(cache.get(bundle))
        self.image = self.model.encode(self.picture)
        self._prompt = self.model.prompt_ids(build_prompt(resolve("caption"), None, None, self.image.size))

    def answer(self, case: str, tokens: int) -> str:
        """Answer through :meth:`f2edge.Florence2.run`."""
        return self.model.run(self.picture, case, settings=self.settings(3, tokens)).plain_text

    def stages(self) -> dict[str, float]:
        """Time the stages; the encoder's time includes the cross-attention's keys and values of every layer."""
        start = self.model.runtime.start
        vision = self.model.encode(self.picture).timings_ms["vision"]
        return {"vision": vision, "encoder": timed(lambda: start(self.image.features, self._prompt))}

    def steps(self, num_beams: int) -> dict[int, list[float]]:
        """Time the steps of one long search."""
        positions = self.workload.positions
        session = TimedSession(self.model.runtime.start(self.image.features, self._prompt))
        generate(session, self.settings(num_beams, max(positions) + AROUND + 3))
        return {position: around(session.done, 0, position) for position in positions}

    def measure(self) -> Samples:
        """Measure also a second question about an encoded image, and an answer that ends at its first token."""
        settings = self.settings(3, self.workload.caption_tokens)
        return super().measure() | {
            "second_question": timings(lambda: self.image.run("caption", settings=settings)),
            "first_token": timings(lambda: self.model.run(self._photograph, "caption", max_new_tokens=FIRST_TOKEN)),
        }

    def settings(self, num_beams: int, tokens: int) -> GenerationSettings:
        """Return settings for answers of exactly ``tokens`` tokens: only the forced last token ends an answer."""
        return search_settings(self.model, num_beams, tokens)
