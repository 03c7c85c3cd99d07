"""Workers of a model, questions from coroutines, and answers that are stopped, on every engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import f2edge
from f2edge import Ask
from f2edge.asking import many
from f2edge.asking.stopped import AnswerCancelledError, AnswerTimeoutError
from f2edge.asking.workers import Workers, threads_of_each
from f2edge.decoding.session import TimedSession
from f2edge.decoding.stopping import StopRequestedError, StopSignal
from f2edge.errors import DeviceError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.arrays import ByteArray
    from f2edge.model import Florence2

ENGINES = ["tiny_bundle", "tiny_onnx_bundle", "tiny_npu_bundle"]
REQUESTS = [(seed, task, beams) for seed in range(3) for task in ("od", "caption") for beams in (1, 3)]
"""Mixed requests: seed of the picture, task, and beams."""


@pytest.fixture(scope="module", autouse=True)
def _two_cores() -> Iterator[None]:
    """Give this process two cores again: while tests run in parallel, each of their processes has one."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not tell which cores a process may use")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two workers need two cores")
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module", params=ENGINES)
def model(request: pytest.FixtureRequest) -> Iterator[Florence2]:
    """Open the tiny bundle with two workers of one thread, on each engine."""
    with f2edge.load(request.getfixturevalue(request.param), "CPU", workers=2, threads=1) as model:
        yield model


def picture(seed: int) -> ByteArray:
    """Return a picture of noise."""
    return np.random.default_rng(seed).integers(0, 256, (60 + 9 * seed, 80, 3), dtype=np.uint8)


def tokens(model: Florence2, request: tuple[int, str, int]) -> tuple[int, ...]:
    """Answer a request."""
    seed, task, beams = request
    return model.run(picture(seed), task, num_beams=beams).token_ids


def test_workers_give_the_answers_of_one(model: Florence2) -> None:
    """Eight threads that share two workers get the answers of a single thread."""
    expected = [tokens(model, request) for request in REQUESTS]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(partial(tokens, model), REQUESTS * 4)) == expected * 4


def test_coroutines_ask(model: Florence2) -> None:
    """Fifty tasks of one event loop get the answers of a single thread, in the order asked."""
    expected = [tokens(model, request) for request in REQUESTS]
    asked = [index % len(REQUESTS) for index in range(50)]

    async def ask(index: int) -> tuple[int, ...]:
        seed, task, beams = REQUESTS[index]
        return (await model.arun(picture(seed), task, num_beams=beams)).token_ids

    async def ask_all() -> list[tuple[int, ...]]:
        return await asyncio.gather(*map(ask, asked))

    assert asyncio.run(ask_all()) == [expected[index] for index in asked]


def test_a_cancelled_task_frees_its_worker(model: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that are cancelled while their answers are decoded stop, and the next question is answered."""
    decoding, ended = slow_steps(monkeypatch), []

    async def cancel_two() -> None:
        tasks = [asyncio.create_task(model.arun(picture(0), "od", max_new_tokens=30)) for _ in range(2)]
        await asyncio.to_thread(decoding.acquire)
        for task in tasks:
            task.cancel()
        ended.extend(await asyncio.gather(*tasks, return_exceptions=True))

    asyncio.run(cancel_two())
    assert [type(error) for error in ended] == [asyncio.CancelledError] * 2
    monkeypatch.undo()
    assert tokens(model, REQUESTS[0])


def test_workers_share_many_questions(model: Florence2) -> None:
    """Batches on two workers give the answers of one question after the other, in their order."""
    asks = [Ask(picture(seed), task, num_beams=beams) for seed, task, beams in REQUESTS]
    expected = [tokens(model, request) for request in REQUESTS]
    assert [result.token_ids for result in model.run_many(asks, batch=3)] == expected
    assert [result.token_ids for result in model.run_many(asks, batch=50)] == expected


def test_both_workers_encode_and_decode(model: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures are encoded, and two halves of one batch decoded, at the same time: neither goes on alone."""
    encoded, answered = threading.Barrier(2, timeout=20), threading.Barrier(2, timeout=20)
    encode, answer = f2edge.Florence2._encode, many._answer

    def meet(barrier: threading.Barrier, then: Any) -> Any:
        return lambda *arguments: (barrier.wait(), then(*arguments))[1]

    monkeypatch.setattr(f2edge.Florence2, "_encode", meet(encoded, encode))
    monkeypatch.setattr(many, "_answer", lambda *arguments: (yield from meet(answered, answer)(*arguments)))
    asks = [Ask(picture(seed), "od", max_new_tokens=4) for seed in range(4)]
    assert len(list(model.run_many(asks, batch=4))) == 4


@pytest.mark.parametrize("wrong", [Ask(b"no picture", "od"), Ask(picture(0), "what"), Ask(None, "od")])
def test_a_wrong_question_among_many(model: Florence2, wrong: Ask) -> None:
    """The answers before it come first; those behind it, which the other worker may have begun, do not come."""
    asks = [Ask(picture(seed), "od", max_new_tokens=4) for seed in range(3)]
    results = model.run_many([*asks, wrong, Ask(b"another", "od")], batch=2)
    answers = [next(results).token_ids for _ in asks]
    assert answers == [model.run(picture(seed), "od", max_new_tokens=4).token_ids for seed in range(3)]
    with pytest.raises(InputError, match=r"memory is not a picture|unknown task|has no image"):
        next(results)


def test_many_questions_on_two_workers_are_stopped(model: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel while both workers encode ends all, no thread is left, and other questions are answered."""
    cancel, threads, encode = threading.Event(), threading.active_count(), f2edge.Florence2._encode

    def stop_at_last(self: Florence2, image: Any, signal: Any) -> Any:
        if image.shape[0] == picture(3).shape[0]:
            cancel.set()
        return encode(self, image, signal)

    monkeypatch.setattr(f2edge.Florence2, "_encode", stop_at_last)
    with pytest.raises(AnswerCancelledError, match="after 0 of them"):
        list(model.run_many([Ask(picture(seed), "od") for seed in range(4)], batch=4, cancel=cancel))
    assert threading.active_count() == threads
    monkeypatch.undo()
    assert tokens(model, REQUESTS[0])


def slow_steps(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Let decoder steps take a tenth of a second; the semaphore counts those that have begun."""
    begun, step = threading.Semaphore(0), TimedSession.step

    def slow(session: TimedSession, *inputs: Any) -> Any:
        begun.release()
        time.sleep(0.1)
        return step(session, *inputs)

    monkeypatch.setattr(TimedSession, "step", slow)
    return begun


@pytest.mark.parametrize("beams", [1, 3])
def test_a_deadline_in_the_decoder(beams: int, model: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer whose time is up raises an error with the tokens until then."""
    whole = model.run(picture(0), "od", num_beams=1)
    encoded = model.encode(picture(0))
    slow_steps(monkeypatch)
    with pytest.raises(
        AnswerTimeoutError, match=r"^the answer was stopped after token \d: `timeout` 0\.45 s is over$"
    ) as caught:
        encoded.run("od", num_beams=beams, timeout=0.45)
    result = caught.value.result
    assert result is not None
    assert result.truncated
    assert 1 < len(result.token_ids) < 8
    if beams == 1:
        assert result.token_ids == whole.token_ids[: len(result.token_ids)]


def test_a_cancelled_stream(model: Florence2) -> None:
    """A stream that is cancelled ends in an error after the pieces that came before; the worker is free."""
    event = threading.Event()
    encoded = model.encode(picture(0))
    whole = list(encoded.stream("od", max_new_tokens=12))
    stream, pieces = encoded.stream("od", max_new_tokens=12, cancel=event), []
    with pytest.raises(AnswerCancelledError, match="`cancel` was set"):  # noqa: PT012 - the pieces come one by one
        for piece in stream:
            pieces.append(piece)
            if len(pieces) == 3:
                event.set()
    assert pieces == whole[:3]
    assert list(encoded.stream("od", max_new_tokens=12)) == whole


def test_the_tower_stops(model: Florence2) -> None:
    """A signal that is set while the tower computes stops the engine, and the tower works afterwards."""
    pixels = np.zeros((1, 3, *model.bundle.geometry.image_size), np.float32)
    before = model.runtime.features_to_host(model.runtime.encode_image(pixels))

    class AfterTheStart(StopSignal):
        """A signal that asks to stop once the engine has begun."""

        def raise_if_requested(self) -> None:
            """Let the engine begin."""
            if self.reason:
                raise StopRequestedError

    event = threading.Event()
    event.set()
    with contextlib.suppress(StopRequestedError):  # raised unless the tower was faster than the signal was looked at
        model.runtime.encode_image(pixels, AfterTheStart(None, event))
    np.testing.assert_array_equal(model.runtime.features_to_host(model.runtime.encode_image(pixels)), before)


def test_many_cancelled_answers_leave_nothing(model: Florence2) -> None:
    """After a hundred answers that were cancelled at any time, there are as many threads, and answers are right."""
    expected = tokens(model, REQUESTS[1])
    threads = threading.active_count()
    for index in range(100):
        event = threading.Event()
        timer = threading.Timer(index * 2e-4, event.set)
        timer.start()
        with contextlib.suppress(AnswerCancelledError):
            assert model.run(picture(0), "od", num_beams=3, cancel=event).token_ids == expected
        timer.join()
    assert threading.active_count() == threads
    assert tokens(model, REQUESTS[1]) == expected


def test_waiting_for_a_worker_ends_at_the_deadline() -> None:
    """Who waits for a worker longer than its time gives up, and the worker stays with the one that has it."""
    workers = Workers(1)
    with workers.turn(StopSignal()):
        with pytest.raises(StopRequestedError), workers.turn(StopSignal(timeout=0.02)):
            pytest.fail("there is one worker only")
        assert not workers._free.acquire(blocking=False)
    with workers.turn(StopSignal()):
        pass


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_who_asks_again_does_not_overtake(timeout: float | None) -> None:
    """Threads that ask one question after the other take turns, whether or not they have a deadline."""
    workers, turns = Workers(1), []

    def ask(name: int) -> None:
        for _ in range(10):
            with workers.turn(StopSignal(timeout)):
                turns.append(name)
                time.sleep(0.005)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ask, range(3)))
    assert all(max(map(turns[:end].count, range(3))) <= end // 3 + 2 for end in range(1, 30)), turns


@pytest.mark.parametrize(
    ("workers", "threads", "each"), [(1, None, None), (1, 7, 7), (2, None, 2), (3, None, 1), (4, 1, 1), (2, 2, 2)]
)
def test_workers_share_the_cores(workers: int, threads: int | None, each: int | None, monkeypatch: Any) -> None:
    """Several workers share the cores, one thread at the least; a single worker computes as before."""
    monkeypatch.setattr("f2edge.asking.workers.usable_cores", lambda: 4)
    assert threads_of_each(workers, threads) == each


@pytest.mark.parametrize(
    ("workers", "threads", "line"),
    [
        (5, None, "5 `workers` of 1 `threads` each take 5 cores; this process may use 4"),
        (2, 3, "2 `workers` of 3 `threads` each take 6 cores; this process may use 4"),
        (0, None, "`workers` is 0; it must be a whole number of at least 1"),
        (1.5, None, "`workers` is 1.5; it must be a whole number of at least 1"),
        (True, None, "`workers` is True; it must be a whole number of at least 1"),
    ],
)
def test_more_workers_than_cores(workers: Any, threads: int | None, line: str, monkeypatch: Any) -> None:
    """More threads than cores are refused, as is what is no number of workers."""
    monkeypatch.setattr("f2edge.asking.workers.usable_cores", lambda: 4)
    with pytest.raises(DeviceError) as caught:
        threads_of_each(workers, threads)
    assert str(caught.value) == line


def test_a_closed_model_has_no_coroutines(tiny_bundle: Path) -> None:
    """``arun`` of a closed model raises the error that ``run`` does."""
    with f2edge.load(tiny_bundle) as model:
        pass
    with pytest.raises(DeviceError, match="this model is closed"):
        asyncio.run(model.arun(picture(0), "od"))
