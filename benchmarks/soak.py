"""Ask one model thousands of mixed questions, and record how memory, threads and open files of the process develop.

The report is written as JSON, and a chart of the memory beside it.

    python benchmarks/soak.py demo.cpu --runs 10000 --output benchmarks/results/soak.json

Pictures differ in size, questions in task, text, beams and length, and a part of the answers is streamed.  With
``--threads-of-the-program N`` that many threads ask at once, and every answer is compared with a serial one.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from chart import OTHERS, OURS, plt

import f2edge
from f2edge.machine import cpu_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_WARM = 500
"""Runs before memory is compared: caches of kernels and shapes fill up at first."""
_ALLOWED_MIB = 5
_QUESTIONS = (
    ("caption", None),
    ("od", None),
    ("dense_region_caption", None),
    ("ocr_with_region", None),
    ("caption_to_phrase_grounding", "a red circle left of a blue square"),
    ("open_vocabulary_detection", "green triangle"),
    ("", "What does the image describe?"),
)
_STREAMED = 0.2
_BEAMS = (1, 1, 2, 3, 3, 5)


class Request(NamedTuple):
    """One question: a picture by seed and size, a task with its text, and how to search; 0 beams mean a stream."""

    seed: int
    size: tuple[int, int]
    task: str
    text: str | None
    beams: int
    tokens: int


class Sample(NamedTuple):
    """The process after a number of runs: resident memory in MiB, threads, and open files."""

    runs: int
    memory_mib: float
    threads: int
    files: int


def requests(count: int, seed: int = 0) -> Iterator[Request]:
    """Yield reproducible random requests."""
    rng = random.Random(seed)  # noqa: S311 - requests, not secrets
    for _ in range(count):
        task, text = rng.choice(_QUESTIONS)
        beams = 0 if rng.random() < _STREAMED else rng.choice(_BEAMS)
        size = (rng.randrange(20, 700), rng.randrange(20, 700))
        yield Request(rng.randrange(50), size, task, text, beams, rng.randrange(2, 40))


def picture(request: Request) -> NDArray[np.uint8]:
    """Return a picture of coarse noise (height, width, 3)."""
    rng = np.random.default_rng(request.seed)
    coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
    height, width = request.size
    return np.ascontiguousarray(coarse[np.arange(height) * 8 // height][:, np.arange(width) * 8 // width])


def answer(model: f2edge.Florence2, request: Request) -> str:
    """Answer a request with the text of all tokens."""
    if not request.beams:
        pieces = model.encode(picture(request)).stream(request.task, request.text, max_new_tokens=request.tokens)
        return "".join(pieces)
    result = model.run(
        picture(request), request.task, request.text, num_beams=request.beams, max_new_tokens=request.tokens
    )
    return result.text


def sample(runs: int) -> Sample:
    """Look at this process, on Linux."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    memory = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    threads, files = (len(list(Path("/proc/self", name).iterdir())) for name in ("task", "fd"))
    return Sample(runs, memory, threads, files)


def soak(model: f2edge.Florence2, runs: int, every: int) -> list[Sample]:
    """Answer one request after the other, and sample the process now and then."""
    samples = [sample(0)]
    for index, request in enumerate(requests(runs), 1):
        answer(model, request)
        if index % every == 0:
            samples.append(sample(index))
            print(*samples[-1], file=sys.stderr)
    return samples


def wrong_answers(model: f2edge.Florence2, threads: int, each: int) -> int:
    """Count answers of threads that share the model and differ from the answers of a single thread."""
    asked = list(requests(threads * each, seed=1))
    expected = list(map(partial(answer, model), asked))
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(partial(answer, model), asked))
    return sum(one != other for one, other in zip(answers, expected, strict=True))


def growth(samples: list[Sample]) -> float:
    """Return the growth of memory after the first runs, in MiB."""
    after = [one.memory_mib for one in samples if one.runs >= _WARM]
    return after[-1] - after[0] if after else 0.0


def draw(samples: list[Sample], path: Path) -> None:
    """Draw memory over runs, with the growth that is allowed after the first ones."""
    figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
    axis.plot([one.runs for one in samples[1:]], [one.memory_mib for one in samples[1:]], color=OURS, linewidth=1.2)
    warm = next(one.memory_mib for one in samples if one.runs >= _WARM)
    axis.axhline(warm + _ALLOWED_MIB, color=OTHERS, linewidth=1, linestyle="--")
    axis.annotate(f"{_ALLOWED_MIB} MiB more than after run {_WARM}", (0, warm + _ALLOWED_MIB), fontsize=8, va="bottom")
    axis.set_ylim(0, 1.15 * (warm + _ALLOWED_MIB))
    axis.set_xlabel("runs")
    axis.set_ylabel("resident memory, MiB")
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--threads", type=int, help="threads of the engine")
    parser.add_argument("--threads-of-the-program", type=int, default=0)
    parser.add_argument("--requests-of-each", type=int, default=200)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    model, started = f2edge.load(options.bundle, threads=options.threads), time.perf_counter()
    if options.threads_of_the_program:
        wrong = wrong_answers(model, options.threads_of_the_program, options.requests_of_each)
        print(f"{wrong} of {options.threads_of_the_program * options.requests_of_each} answers differ")
        sys.exit(wrong > 0)
    samples = soak(model, options.runs, options.every)
    report = {
        "bundle": options.bundle.name,
        "processor": cpu_name(),
        "threads": model.runtime.threads,
        "runs": options.runs,
        "seconds": round(time.perf_counter() - started),
        "growth_mib_after_500_runs": round(growth(samples), 2),
        "samples": [one._asdict() for one in samples],
    }
    if options.output:
        options.output.write_text(json.dumps(report, indent=1) + "\n")
        draw(samples, options.output.with_suffix(".png"))
    print(json.dumps({name: value for name, value in report.items() if name != "samples"}))


if __name__ == "__main__":
    main()
