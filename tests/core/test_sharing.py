"""One model used by many threads, and many models loaded one after the other in one process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import f2edge
from f2edge.errors import DeviceError

if TYPE_CHECKING:
    from f2edge.model import Florence2

REQUESTS = [(seed, task, beams) for seed in range(3) for task in ("od", "caption", "") for beams in (0, 1, 3)]
"""Mixed requests: seed of the picture, task, and beams; 0 beams stand for a stream."""

ENGINES = ["tiny_bundle", "tiny_onnx_bundle"]


@pytest.fixture(scope="module", params=ENGINES)
def model(request: pytest.FixtureRequest) -> Florence2:
    """Return the tiny bundle opened with each engine."""
    return f2edge.load(request.getfixturevalue(request.param))


def ask(model: Florence2, request: tuple[int, str, int]) -> tuple[str, tuple[int, ...], tuple[float, ...]]:
    """Answer a request; return text, tokens and log-probabilities, of which a stream has the text only."""
    seed, task, beams = request
    picture = np.random.default_rng(seed).integers(0, 256, (60 + 9 * seed, 80, 3), dtype=np.uint8)
    text = None if task else "Locate the boat"
    if not beams:
        return "".join(model.encode(picture).stream(task, text)), (), ()
    result = model.run(picture, task, text, num_beams=beams)
    return result.text, result.token_ids, result.token_logprobs


def output_of(command: list[str]) -> list[str]:
    """Run a program and return the lines that it prints."""
    finished = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)  # noqa: S603
    return finished.stdout.splitlines()


def test_threads_that_share_a_model(model: Florence2) -> None:
    """Eight threads with mixed requests get the answers of a single thread, to the last bit of each score."""
    expected = {request: ask(model, request) for request in REQUESTS}
    assert len(set(expected.values())) > len(REQUESTS) // 2
    requests = REQUESTS * 3
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(ask, model), requests))
    assert answers == [expected[request] for request in requests]


def test_tasks_of_asyncio_that_share_a_model(model: Florence2) -> None:
    """Calls through ``asyncio.to_thread`` may share a model without a lock."""
    expected = [ask(model, request) for request in REQUESTS[:8]]

    async def gather() -> list[object]:
        return await asyncio.gather(*(asyncio.to_thread(ask, model, request) for request in REQUESTS[:8]))

    assert asyncio.run(gather()) == expected


def test_threads_that_load_models(tiny_bundle: Path) -> None:
    """Four threads that load a bundle at once each get a model that answers."""
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(f2edge.load, [tiny_bundle] * 4))
    assert len({ask(model, REQUESTS[1]) for model in models}) == 1


@pytest.mark.parametrize("bundle", ENGINES)
def test_a_closed_model_refuses_questions(bundle: str, request: pytest.FixtureRequest) -> None:
    """A model closes at the end of its block: a stream that has begun ends, and a later question is refused."""
    picture = np.zeros((40, 40, 3), np.uint8)
    with f2edge.load(request.getfixturevalue(bundle)) as model:
        encoded = model.encode(picture)
        whole = "".join(encoded.stream("od"))
        begun = encoded.stream("od")
        first = next(begun)
    assert first + "".join(begun) == whole
    for question in (partial(model.run, picture), encoded.run, lambda task: list(encoded.stream(task))):
        with pytest.raises(DeviceError, match=r"this model is closed; open its bundle again with f2edge\.load"):
            question("od")
    model.close()  # closing twice does nothing


LOADS = """
import os, sys, f2edge
for count in range(1, int(sys.argv[2]) + 1):
    with f2edge.load(sys.argv[1]) as model:
        pass
    if count in (3, int(sys.argv[2])):
        print(len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")
@pytest.mark.parametrize("bundle", ENGINES)
def test_models_that_were_dropped_leave_no_threads(bundle: str, request: pytest.FixtureRequest) -> None:
    """After many loads, a process has as many threads and open files as after the third load."""
    path = request.getfixturevalue(bundle)
    command = [sys.executable, "-c", LOADS, path, "12"]
    early, late = output_of(command)
    assert early == late


FORKS = """
import os, sys, f2edge
import numpy as np

def answer():
    return f2edge.load(sys.argv[1]).run(np.zeros((40, 40, 3), np.uint8), "od").text

print(answer(), flush=True)
if child := os.fork():
    os.waitpid(child, 0)
else:
    print(answer(), flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("bundle", ENGINES)
def test_a_forked_child_loads_a_model_of_its_own(bundle: str, request: pytest.FixtureRequest) -> None:
    """A child forked after an answer can load the bundle and answer, although threads do not survive a fork."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS, request.getfixturevalue(bundle)]
    parent, child = output_of(command)
    assert parent == child
