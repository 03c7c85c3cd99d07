"""The program that a measured process runs: open a bundle, answer one question, print the two times."""

from __future__ import annotations

import json
import sys
import time

from f2edge.measuring.asking import Asking, since
from f2edge.model import load


def answer(
    path: str,
    device: str | None,
    threads: int | None,
    image: str | None,
    task: str,
    num_beams: int | None,
    new_tokens: int | None,
) -> tuple[float, float]:
    """Return the milliseconds of opening a bundle, and of its first answer."""
    started = time.perf_counter()
    model = load(path, device, threads=threads)
    loaded = since(started)
    asking = Asking.of(model, image, task, num_beams, new_tokens)
    started = time.perf_counter()
    asking.once()
    return loaded, since(started)


if __name__ == "__main__":
    print(json.dumps(answer(**json.loads(sys.argv[1]))), flush=True)  # noqa: T201 - this is its answer
