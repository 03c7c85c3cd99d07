"""Contenders of ``embed.py``: a bundle asked by several threads, in batches, and transformers' batched answers."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from measuring import Contender, decoded_photograph, timed

from f2edge.engine import takes_batches
from f2edge.machine import peak_rss_mib, usable_cores
from f2edge.tasks.table import build_prompt, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

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
TOGETHER = 8
"""Pictures whose captions are asked for in one batch, and one by one in turns with that."""
BEAMS = 3
TASK = "caption"
STEPS, TOKEN = 24, 100
"""Steps of a greedy search that are timed, and the token that each of them is fed; the time is that of any token."""


def pictures_of(cache: Cache, count: int) -> list[ByteArray]:
    """Return different pictures: the photograph (H, W, 3) moved sideways by some pixels each time."""
    photograph = decoded_photograph(cache)
    return [np.ascontiguousarray(np.roll(photograph, 8 * number, axis=1)) for number in range(count)]


def shares(threads: int) -> list[tuple[int, int]]:
    """Return how ``threads`` are shared: one worker of all of them first, then as many workers as threads."""
    return list(dict.fromkeys([(1, threads), (threads, 1)]))


class Asking:
    """A model, and the caption that it is asked for.

    Args:
        workload: the model size and the length of a caption.
        cache: the cache that holds the bundle and the photograph.
        bundle: name of the bundle's artefact.
        workers: answers that are computed at the same time.
        threads: CPU threads of each worker.
    """

    def __init__(self, workload: Workload, cache: Cache, bundle: str, workers: int, threads: int) -> None:
        import f2edge
        from f2edge.measuring.asking import search_settings

        self.model = f2edge.load(cache.get(bundle), workers=workers, threads=threads)
        self.pictures = pictures_of(cache, max(BATCHES))
        self._ask = {"task": TASK, "settings": search_settings(self.model, BEAMS, workload.caption_tokens)}

    def clients(self, count: int, answers: int) -> list[float]:
        """Let threads ask at the same time, each one question after the other; return all latencies in ms."""

        def client(number: int) -> list[float]:
            return [timed(lambda: self.one_by_one(self.pictures[number : number + 1])) for _ in range(answers)]

        with ThreadPoolExecutor(count) as pool:
            return [latency for latencies in pool.map(client, range(count)) for latency in latencies]

    def one_by_one(self, pictures: list[ByteArray]) -> list[str]:
        """Return the caption of each picture, one after the other."""
        return [self.model.run(picture, **self._ask).text for picture in pictures]

    def together(self, pictures: list[ByteArray]) -> list[str]:
        """Return the captions of pictures that are asked for in one batch."""
        asks = (self.question(picture) for picture in pictures)
        return [result.text for result in self.model.run_many(asks, batch=len(pictures))]

    def question(self, picture: ByteArray | None) -> Ask:
        """Return the question about a picture; None if that is encoded."""
        import f2edge

        return f2edge.Ask(picture, **self._ask)


class Turns(Contender):
    """The ways to share the threads among workers, which take turns of some seconds.

    A machine whose speed changes is as fast for all of them then: the first way, one worker of all threads, has a turn
    before and after each turn of another.

    Args:
        workload: the model size and the length of a caption.
        cache: the cache that holds the bundle and the photograph.
        bundle: name of the bundle's artefact.
    """

    def __init__(self, workload: Workload, cache: Cache, bundle: str) -> None:
        ways = shares(usable_cores())
        self._asking = {f"{each[0]}x{each[1]}": Asking(workload, cache, bundle, *each) for each in ways}
        self._first, *self._others = self._asking

    def warm_up(self) -> None:
        """Answer once on each worker."""
        for asking in self._asking.values():
            asking.clients(max(CLIENTS), 1)

    def measure(self) -> Samples:
        """Measure each number of threads that ask, then captions of several pictures in a batch and one by one."""
        samples: Samples = {}
        ways = [self._first, *(turn for other in self._others for turn in (other, self._first))]
        for count, way in product(CLIENTS, ways):
            for name, values in self._turn(way, count).items():
                samples.setdefault(f"{way}_clients_{count}_{name}", []).extend(values)
        return samples | self._batches()

    def _turn(self, way: str, count: int) -> Samples:
        """Let so many threads ask; return the answers per second and the latencies."""
        started = time.perf_counter()
        latencies = self._asking[way].clients(count, max(2, ANSWERS // count))
        return {"answers_per_s": [len(latencies) / (time.perf_counter() - started)], "latency": latencies}

    def _batches(self) -> Samples:
        pictures = self._asking[self._first].pictures[:TOGETHER]
        alone = [timed(lambda: self._asking[self._first].one_by_one(pictures))]
        samples: Samples = {"one_by_one": alone}
        for way, asking in self._asking.items():
            samples[f"{way}_together"] = [timed(lambda asking=asking: asking.together(pictures))]
            alone.append(timed(lambda: self._asking[self._first].one_by_one(pictures)))
        return samples


class Batches(Contender):
    """One worker of all threads that answers batches.

    Args:
        workload: the model size and the length of a caption.
        cache: the cache that holds the bundle and the photograph.
        bundle: name of the bundle's artefact.
    """

    def __init__(self, workload: Workload, cache: Cache, bundle: str) -> None:
        self._asking = Asking(workload, cache, bundle, 1, usable_cores())

    def warm_up(self) -> None:
        """Answer some questions."""
        self._asking.together(self._asking.pictures[:2])

    def measure(self) -> Samples:
        """Measure batches of pictures, of questions about a picture that is encoded already, and a step of each size.

        A question alone and a batch of one are the same: both take the steps of one answer.
        """
        pictures, model = self._asking.pictures, self._asking.model
        encoded, question = model.encode(pictures[0]), self._asking.question(None)
        samples = measured_batches("pictures", lambda size: self._asking.together(pictures[:size]))
        samples |= measured_batches(
            "questions", lambda size: [r.text for r in encoded.run_many([question] * size, batch=size)]
        )
        return samples | {f"greedy_step_{size}": self._greedy_steps(encoded, size) for size in BATCHES}

    def _greedy_steps(self, encoded: EncodedImage, size: int) -> list[float]:
        """Time steps of a greedy search for several questions about one picture, in ms each; leave out the first."""
        model = self._asking.model
        prompt, rows = model.prompt_ids(build_prompt(resolve(TASK), None, None, encoded.size)), np.arange(size)
        runtime = model.runtime
        assert takes_batches(runtime)
        session = runtime.start_many([(encoded.features, prompt)] * size)
        steps = [timed(lambda: session.step(np.full(size, TOKEN), rows)) for _ in range(STEPS)]
        return steps[1:]


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
        samples = measured_batches("pictures", lambda size: self._generate(self._pictures[:size]))
        return samples | measured_batches("questions", lambda size: self._generate(self._pictures[:1] * size))

    def _generate(self, pictures: list[ByteArray]) -> list[str]:
        return self._peer.answers(pictures, TASK, self._workload.caption_tokens)


def measured_batches(kind: str, answer: Callable[[int], list[str]]) -> Samples:
    """Answer a batch of each size; return their times in ms, and the peak memory of the process meanwhile in MB.

    A question alone has a turn before and after each batch: a machine whose speed changes is as fast for both.
    """
    samples: Samples = {}
    for size in BATCHES:
        before, (taken, peak), after = (_measured_batch(count, answer) for count in (1, size, 1))
        samples[f"{kind}_{size}_alone"] = [before[0], after[0]]
        samples |= {f"{kind}_{size}": [taken], f"{kind}_{size}_peak_mb": [peak]}
    return samples


def _measured_batch(size: int, answer: Callable[[int], list[str]]) -> tuple[float, float]:
    _forget_the_peak()
    answers: list[str] = []
    taken = timed(lambda: answers.extend(answer(size)))
    assert len(answers) == size
    return taken, (peak_rss_mib() or 0) * 2**20 / 1e6


def _forget_the_peak() -> None:
    """Let the kernel count the peak of the resident memory anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
