"""Many questions in batches: the answers are those of one after the other, in their order, on every engine."""

from __future__ import annotations

from itertools import product
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import f2edge
from f2edge import Ask
from f2edge.asking.stopped import AnswerTimeoutError, StoppedError
from f2edge.decoding import generate_together
from f2edge.engine import takes_batches
from f2edge.errors import ImageError, InputError, TaskError
from f2edge.model import Florence2
from f2edge.runtimes.batches import put_together

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.arrays import ByteArray

BATCHED = ["tiny_bundle", "tiny_onnx_bundle"]
TASKS = [("caption", None), ("od", None), ("caption_to_phrase_grounding", "a car and a dog"), ("ocr_with_region", None)]


def picture(seed: int) -> ByteArray:
    """Return a picture of noise."""
    return np.random.default_rng(seed).integers(0, 256, (60 + 9 * seed, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=[*BATCHED, "tiny_npu_bundle"])
def model(request: pytest.FixtureRequest) -> Iterator[Florence2]:
    """Open the tiny bundle on each engine; the last one's shapes are fixed, so it answers one question at a time."""
    with f2edge.load(request.getfixturevalue(request.param), "CPU", threads=1) as model:
        yield model


@pytest.fixture(scope="module", params=BATCHED)
def batched(request: pytest.FixtureRequest) -> Iterator[Florence2]:
    """Open the tiny bundle on each engine that takes batches."""
    with f2edge.load(request.getfixturevalue(request.param), "CPU", threads=1) as model:
        yield model


def mixed_asks() -> list[Ask]:
    """Return questions of different tasks, lengths and beams about several pictures."""
    pictures = [picture(seed) for seed in range(3)]
    asks = [
        Ask(pictures[seed], task, text, num_beams=beams, max_new_tokens=20 + 5 * seed)
        for seed, (task, text), beams in product(range(3), TASKS, (1, 3))
    ]
    return [*asks, Ask(pictures[0], "region_to_category", region=(5, 5, 40, 50))]


def alone(model: Florence2, ask: Ask) -> f2edge.Result:
    """Ask one question by itself."""
    assert ask.image is not None
    assert not isinstance(ask.image, f2edge.EncodedImage)
    options = {"num_beams": ask.num_beams, "max_new_tokens": ask.max_new_tokens, "region": ask.region}
    return model.run(ask.image, ask.task, ask.text, **options)  # type: ignore[arg-type]


def test_answers_are_those_of_one_after_the_other(model: Florence2) -> None:
    """Same tokens, same order, same number of steps, whatever the beams, tasks and pictures of a batch."""
    asks = mixed_asks()
    together = list(model.run_many(asks, batch=5))
    expected = [alone(model, ask) for ask in asks]
    assert [result.token_ids for result in together] == [result.token_ids for result in expected]
    assert [result.steps for result in together] == [result.steps for result in expected]
    assert [(r.task, r.text, r.boxes) for r in together] == [(r.task, r.text, r.boxes) for r in expected]
    np.testing.assert_allclose([r.score for r in together], [r.score for r in expected], atol=1e-4)
    assert all({"preprocess", "vision", "encoder", "decode", "total"} <= set(r.timings_ms) for r in together)


def test_the_decoder_takes_its_steps_together(batched: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of four questions opens one session, not four."""
    assert takes_batches(batched.runtime)
    monkeypatch.setattr(batched.runtime, "start", None)
    assert len(list(batched.run_many([Ask(picture(k), "od", max_new_tokens=5) for k in range(4)], batch=4))) == 4


def test_several_questions_about_one_picture(model: Florence2) -> None:
    """An encoded image takes names of tasks and questions without an image; its features are computed once."""
    image = model.encode(picture(1))
    asks = ["caption", Ask(None, "od", num_beams=2), Ask(image, "caption_to_phrase_grounding", "a dog")]
    expected = [image.run("caption"), image.run("od", num_beams=2), image.run("caption_to_phrase_grounding", "a dog")]
    assert [r.token_ids for r in image.run_many(asks)] == [r.token_ids for r in expected]


def test_a_picture_is_encoded_once(batched: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbouring questions about the same picture share its features, whether it is given as an array or encoded."""
    encoded: list[Any] = []
    encode = Florence2._encode
    monkeypatch.setattr(Florence2, "_encode", lambda self, image, _: (encoded.append(image), encode(self, image, _))[1])
    shared, other = picture(0), picture(1)
    asks = [Ask(image, task, max_new_tokens=4) for image in (shared, other) for task in ("od", "caption", "ocr")]
    assert len(list(batched.run_many(asks))) == 6
    assert len(encoded) == 2


def test_pictures_that_live_for_one_question_are_told_apart(
    batched: Florence2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture may get the memory, and so the identity, of one that is gone, but not its features."""
    encoded: list[Any] = []
    encode = Florence2._encode
    monkeypatch.setattr(Florence2, "_encode", lambda self, image, _: (encoded.append(None), encode(self, image, _))[1])
    asks = (Ask(picture(k), "od", max_new_tokens=3) for k in range(8))
    assert len(list(batched.run_many(asks))) == len(encoded) == 8


@pytest.mark.parametrize("filling", [0.0, 3.5, -1e4])
def test_what_fills_up_shorter_questions_is_never_seen(
    batched: Florence2, monkeypatch: pytest.MonkeyPatch, filling: float
) -> None:
    """Other values behind the keys and values of shorter questions change no bit of any score."""
    asks = [Ask(picture(0), task, text, max_new_tokens=12) for task, text in TASKS]
    expected = list(batched.run_many(asks))

    def fill(parts: Any, axis: int, out: Any) -> None:
        put_together(parts, axis, out)
        for target, part in zip(out, parts, strict=True):
            np.split(target, [part.shape[axis]], axis - 1)[1][...] = filling

    for module in ("openvino.runtime", "onnxruntime.session"):
        monkeypatch.setattr(f"f2edge.runtimes.{module}.put_together", fill)
    results = list(batched.run_many(asks))
    assert [r.token_ids for r in results] == [r.token_ids for r in expected]
    assert [r.token_logprobs for r in results] == [r.token_logprobs for r in expected]


def test_questions_are_read_as_they_are_needed(batched: Florence2) -> None:
    """An endless source of questions gives its first answers."""
    read = []

    def endless() -> Iterator[Ask]:
        while True:
            read.append(1)
            yield Ask(picture(0), "od", max_new_tokens=3)

    results = batched.run_many(endless(), batch=2)
    next(results)
    assert len(read) == 4


def test_a_wrong_question_comes_after_the_answers_before_it(model: Florence2) -> None:
    """Nothing that could be answered is lost, and the error is that of a single question."""
    results = model.run_many([Ask(picture(0), "od", max_new_tokens=3), Ask(picture(0), "what")])
    assert next(results).task == "<OD>"
    with pytest.raises(TaskError, match="unknown task 'what'"):
        next(results)
    with pytest.raises(ImageError):
        list(model.run_many([Ask(b"no picture", "od")]))


@pytest.mark.parametrize(
    ("asks", "batch", "message"),
    [
        ([], 0, "`batch` is 0"),
        ([], True, "`batch` is True"),
        (["od"], 8, "'od' is no question; give an f2edge.Ask"),
        ([Ask(None, "od")], 8, "has no image"),
    ],
)
def test_misuse(asks: list[Any], batch: int, message: str, batched: Florence2) -> None:
    """Each wrong argument is named in one line."""
    with pytest.raises(InputError, match=message):
        list(batched.run_many(asks, batch=batch))


def test_images_of_others(batched: Florence2, tiny_bundle: Any) -> None:
    """A picture that another model has encoded, or a question about another picture, is refused."""
    with f2edge.load(tiny_bundle, threads=1) as other:
        stranger = other.encode(picture(0))
        with pytest.raises(InputError, match="belongs to another model"):
            list(batched.run_many([Ask(stranger, "od")]))
        with pytest.raises(InputError, match="is no question about this image"):
            list(stranger.run_many([Ask(picture(1), "od")]))


def test_a_cancel_ends_the_answers_after_those_that_are_whole(model: Florence2) -> None:
    """Answers come in their order until the caller cancels between two of them; then the error says how many came."""
    cancel = Event()
    asks = [Ask(picture(seed), "caption", max_new_tokens=8) for seed in range(5)]
    answers = model.run_many(asks, batch=1, cancel=cancel)
    first = [next(answers), next(answers)]
    cancel.set()
    with pytest.raises(StoppedError, match=r"^the answers were stopped after 2 of them: `cancel` was set$"):
        next(answers)
    assert [result.token_ids for result in first] == [alone(model, ask).token_ids for ask in asks[:2]]


def test_a_cancel_in_the_middle_of_a_batch(batched: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch stops at its next step, and no half answer is handed out; other questions can be asked afterwards."""
    cancel, steps = Event(), 0

    def cancelled_at_step_2(session: Any, *searches: Any) -> Any:
        def step(*rows: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == 2:
                cancel.set()
            return take(*rows)

        take, session.step = session.step, step
        return generate_together(session, *searches)

    asks = [Ask(picture(seed), "caption", max_new_tokens=30) for seed in range(3)]
    monkeypatch.setattr("f2edge.asking.many.generate_together", cancelled_at_step_2)
    with pytest.raises(StoppedError, match="after 0 of them"):
        list(batched.run_many(asks, cancel=cancel))
    assert steps == 2
    monkeypatch.undo()
    assert len(list(batched.run_many(asks))) == len(asks)


def test_the_time_of_many_questions(model: Florence2) -> None:
    """The time counts from the call, also while pictures are encoded; a bad `timeout` is refused at the call."""
    with pytest.raises(AnswerTimeoutError, match="after 0 of them: `timeout` 1e-06 s is over"):
        list(model.run_many([Ask(picture(0), "caption")], timeout=1e-6))
    with pytest.raises(InputError, match="`timeout` is 0"):
        model.encode(picture(0)).run_many(["caption"], timeout=0)
