"""Contenders of ``embed.py``: a bundle asked by several threads and in batches, and transformers' batched answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measuring import Contender, decoded_photograph, timed

from f2edge.engine import takes_batches
from f2edge.machine import peak_rss_mib
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from artefacts import Cache
    from measuring import Samples
    from workload import Workload

    from f2edge import Ask
    from f2edge.arrays import ByteArray
    from f2edge.asking.encoded import EncodedImage

CLIENTS = (1, 2, 4, 8)
"""Threads that ask at the same time."""
BATCHES = (1, 2, 4, 8, 16)
"""Questions that are answered together."""
ANSWERS = 4
"""Answers that are measured for each number of clients, if each client then gets two or more."""
BEAMS = 3
TASK = "caption"
STEPS, TOKEN = 24, 100
"""Steps of a greedy search that are timed, and the token that each of them is fed; the time is that of any token."""


def pictures_of(cache: Cache, count: int) -> list[ByteArray]:
    """Return different pictures: the photograph (H, W, 3) moved sideways by some pixels each time."""
    photograph = decoded_photograph(cache)
    return [np.ascontiguousarray(np.roll(photograph, 8 * number, axis=1)) for number in range(count)]


class Asked(Contender):
    """A bundle asked by several threads at once.

    Args:
        workload: the model size and the length of a caption.
        cache: the cache that holds the bundle and the photograph.
        bundle: name of the bundle's artefact.
        workers: answers that are computed at the same time.
        threads: CPU threads of each worker.
        batches: whether to measure batches too.
    """

    def __init__(
        self, workload: Workload, cache: Cache, bundle: str, *, workers: int, threads: int, batches: bool
    ) -> None:
        import f2edge
        from f2edge.measuring.asking import search_settings

        self.model = f2edge.load(cache.get(bundle), workers=workers, threads=threads)
        self._ask = {"task": TASK, "settings": search_settings(self.model, BEAMS, workload.caption_tokens)}
        self._pictures = pictures_of(cache, max(BATCHES))
        self._batches = BATCHES if batches else ()

    def warm_up(self) -> None:
        """Answer once on each worker."""
        self._clients(max(CLIENTS), 1)

    def measure(self) -> Samples:
        """Measure each number of clients, then each batch."""
        samples: Samples = {}
        for count in CLIENTS:
            latencies: list[float] = []
            taken = timed(
                lambda count=count, seen=latencies: seen.extend(self._clients(count, max(2, ANSWERS // count)))
            )
            samples[f"clients_{count}_answers_per_s"] = [1e3 * len(latencies) / taken]
            samples[f"clients_{count}_latency"] = latencies
        return samples | self._measure_batches() if self._batches else samples

    def _measure_batches(self) -> Samples:
        """Measure batches of pictures, of questions about a picture that is encoded already, and a step of each size.

        A question alone and a batch of one are the same: both take the steps of one answer.
        """
        encoded = self.model.encode(self._pictures[0])
        question = self._question(None)
        samples = measured_batches("pictures", self._batches, self._about_pictures)
        samples |= measured_batches(
            "questions", self._batches, lambda size: [r.text for r in encoded.run_many([question] * size, batch=size)]
        )
        return samples | {f"greedy_step_{size}": self._greedy_steps(encoded, size) for size in self._batches}

    def _greedy_steps(self, encoded: EncodedImage, size: int) -> list[float]:
        """Time steps of a greedy search for several questions about one picture, in ms each; leave out the first."""
        prompt = self.model.prompt_ids(build_prompt(resolve(TASK), None, None, encoded.size))
        runtime, rows = self.model.runtime, np.arange(size)
        assert takes_batches(runtime)
        session = runtime.start_many([(encoded.features, prompt)] * size)
        steps = [timed(lambda: session.step(np.full(size, TOKEN), rows)) for _ in range(STEPS)]
        return steps[1:]

    def _clients(self, count: int, answers: int) -> list[float]:
        """Let threads ask at the same time, each one question after the other; return all latencies in ms."""

        def client(number: int) -> list[float]:
            picture = self._pictures[number]
            return [timed(lambda: self.model.run(picture, **self._ask)) for _ in range(answers)]

        with ThreadPoolExecutor(count) as pool:
            return [latency for latencies in pool.map(client, range(count)) for latency in latencies]

    def _about_pictures(self, size: int) -> list[str]:
        asks = (self._question(picture) for picture in self._pictures[:size])
        return [result.text for result in self.model.run_many(asks, batch=size)]

    def _question(self, picture: ByteArray | None) -> Ask:
        import f2edge

        return f2edge.Ask(picture, **self._ask)


class BatchedGenerate(Contender):
    """transformers' own ``generate`` for batches; its tower sees the picture again for each question about it."""

    def __init__(self, workload: Workload, cache: Cache, dtype: str) -> None:
        import torch
        from transformers_model import TransformersModel

        self._torch = torch
        self._peer = TransformersModel(workload, cache, dtype)
        self._workload, self._pictures = workload, pictures_of(cache, max(BATCHES))

    def warm_up(self) -> None:
        """Answer one batch."""
        self._generate(self._pictures[:1])

    def measure(self) -> Samples:
        """Measure each batch of pictures, and of questions about one picture."""
        samples = measured_batches("pictures", BATCHES, lambda size: self._generate(self._pictures[:size]))
        return samples | measured_batches("questions", BATCHES, lambda size: self._generate(self._pictures[:1] * size))

    def _generate(self, pictures: list[ByteArray]) -> list[str]:
        return self._peer.answers(pictures, TASK, self._workload.caption_tokens)


def measured_batches(kind: str, sizes: Sequence[int], answer: Callable[[int], list[str]]) -> Samples:
    """Answer batches of each size; return their times in ms, and the peak memory of the process meanwhile in MB.

    A question alone takes its turn before each of them: a machine whose speed changes is as fast for both.
    """
    samples: Samples = {}
    for size in sizes:
        for count in dict.fromkeys((1, size)):
            for name, value in _measured_batch(kind, count, answer).items():
                samples.setdefault(name, []).append(value)
    return samples


def _measured_batch(kind: str, size: int, answer: Callable[[int], list[str]]) -> dict[str, float]:
    _forget_the_peak()
    answers: list[str] = []
    taken = timed(lambda: answers.extend(answer(size)))
    assert len(answers) == size
    return {f"{kind}_{size}": taken, f"{kind}_{size}_peak_mb": (peak_rss_mib() or 0) * 2**20 / 1e6}


def _forget_the_peak() -> None:
    """Let the kernel count the peak of the resident memory anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
