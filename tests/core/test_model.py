"""``load`` and questions: the public interface of the package, tried on the tiny bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import f2edge
from f2edge.asking import encoded as module
from f2edge.decoding.greedy import DecodedToken
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import DeviceError, InputError, LimitError, TaskError
from tests.support.checkpoints import TINY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.arrays import ByteArray
    from f2edge.model import Florence2
    from f2edge.result import Result

STAGES = ("preprocess", "vision", "encoder", "decode", "postprocess")
FREE = "Locate the boat, the red one"


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Florence2:
    """Open the tiny bundle."""
    return f2edge.load(tiny_bundle)


def picture(seed: int = 0) -> ByteArray:
    """Return a picture of noise, 110x70 pixels."""
    return np.random.default_rng(seed).integers(0, 256, (70, 110, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("task", "text"), [("od", None), ("<CAPTION>", None), ("", FREE), ("open_vocabulary_detection", "car")]
)
@pytest.mark.parametrize("seed", range(3))
def test_a_stream_is_the_greedy_answer(task: str, text: str | None, seed: int, model: Florence2) -> None:
    """The streamed pieces join to the text of the greedy answer, without begin, end and padding."""
    encoded = model.encode(picture(seed))
    whole = encoded.run(task, text, num_beams=1)
    pieces = list(encoded.stream(task, text))
    assert "".join(pieces).strip() == whole.plain_text
    assert len(pieces) > 2
    cut = encoded.run(task, text, num_beams=1, max_new_tokens=5)
    assert "".join(encoded.stream(task, text, max_new_tokens=5)).strip() == cut.plain_text


def test_a_stream_has_no_tags(model: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin, end and padding tokens are left out of a stream; location tokens stay."""
    ids = [0, *model.tokenizer.encode("cat<loc_7>")[1:-1], 1, 2]
    monkeypatch.setattr(module, "stream", lambda *_: iter([DecodedToken(token_id, 0.0) for token_id in ids]))
    pieces = list(model.encode(picture()).stream("od"))
    assert "".join(pieces) == "cat<loc_7>"
    assert all(pieces)


def test_a_wrong_stream_fails_at_the_call(model: Florence2) -> None:
    """A wrong question fails when ``stream`` is called, not when the first piece is requested."""
    encoded = model.encode(picture())
    with pytest.raises(TaskError, match="unknown task"):
        encoded.stream("dance")
    with pytest.raises(TaskError, match="needs a text"):
        encoded.stream("")
    with pytest.raises(LimitError, match="takes 1 to 80"):
        encoded.stream("od", max_new_tokens=81)


def test_steps(model: Florence2) -> None:
    """Greedy search takes one step per token except for the forced end; beam search may go on after its best answer."""
    greedy = model.run(picture(), "od", num_beams=1, max_new_tokens=7)
    assert greedy.truncated
    assert greedy.steps == 6
    answer = model.run(picture(), "od", num_beams=3)
    ending = replace(model.bundle.generation, eos_token_id=answer.token_ids[3], forced_eos_token_id=None)
    early = model.run(picture(), "od", settings=ending)
    assert early.steps > len(early.token_ids) - 1 > 0


def test_characters_of_several_tokens_come_whole(model: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """A split character is streamed with its last token; if it is cut off, a replacement character ends the stream."""
    ids = model.tokenizer.encode("aé€")[1:-1]
    assert len(ids) == 6
    cases = {6: ["a", "é", "€"], 5: ["a", "é", "\N{REPLACEMENT CHARACTER}"], 2: ["a", "\N{REPLACEMENT CHARACTER}"]}
    for length, expected in cases.items():
        tokens = [DecodedToken(token_id, 0.0) for token_id in ids[:length]]
        monkeypatch.setattr(module, "stream", lambda *_, tokens=tokens: iter(tokens))
        pieces: Iterator[str] = model.encode(picture()).stream("caption")
        assert list(pieces) == expected
        assert "".join(expected) == "".join(model.tokenizer.decode_tokens(ids[:length]))


def untimed(result: Result) -> Result:
    """Return the result without its timings, which change from run to run."""
    return replace(result, timings_ms={})


@pytest.mark.parametrize("num_beams", [1, 3])
def test_one_encoding_many_questions(num_beams: int, model: Florence2) -> None:
    """One encoding gives, in any order, the same answers as encoding the image for each question."""
    encoded, other = model.encode(picture()), model.encode(picture(1))
    questions = [("od", None), ("caption", None), ("", FREE), ("od", None)]
    answers = [encoded.run(task, text, num_beams=num_beams) for task, text in questions]
    other.run("od")
    for (task, text), answer in reversed(list(zip(questions, answers, strict=True))):
        fresh = model.run(picture(), task, text, num_beams=num_beams)
        again = encoded.run(task, text, num_beams=num_beams)
        assert untimed(fresh) == untimed(again) == untimed(answer)
    assert other.run("od").token_ids != answers[0].token_ids


def test_an_answer_in_full(model: Florence2) -> None:
    """Token ids, log-probabilities, score and text of a result agree, and can be written as JSON."""
    result = model.run(picture(), "od")
    assert result.task == "<OD>"
    assert result.token_ids[:2] == (2, 0)
    assert len(result.token_logprobs) == len(result.token_ids) - 1
    assert result.score == pytest.approx(sum(result.token_logprobs) / len(result.token_logprobs), rel=1e-5)
    assert result.text == model.tokenizer.decode(result.token_ids)
    assert json.loads(json.dumps(result.to_json()))["token_ids"] == list(result.token_ids)


def test_timings(model: Florence2) -> None:
    """A result has the time of every stage, their sum and two parts of decoding; the encoding's are counted once."""
    encoded = model.encode(picture())
    assert encoded.timings_ms.keys() == {"preprocess", "vision"}
    for result in (encoded.run("od"), encoded.run("caption")):
        timings = dict(result.timings_ms)
        assert timings.keys() == {*STAGES, "first_token", "per_token", "total"}
        assert timings["total"] == pytest.approx(sum(timings[stage] for stage in STAGES))
        assert {name: timings[name] for name in encoded.timings_ms} == encoded.timings_ms
        assert 0 < timings["first_token"] <= timings["decode"]
        assert 0 < timings["per_token"] <= timings["decode"]
    assert encoded.timings_ms.keys() == {"preprocess", "vision"}


def test_settings_of_a_question(model: Florence2) -> None:
    """The bundle's settings or the given ones apply; beams and tokens override either."""
    own = model.bundle.generation
    assert model.settings() == own
    assert model.settings(5, 7) == replace(own, num_beams=5, max_new_tokens=7)
    wanted = GenerationSettings(num_beams=2, max_new_tokens=9, forced_bos_token_id=None, early_stopping="never")
    assert model.settings(settings=wanted) == wanted
    assert model.settings(1, settings=wanted) == replace(wanted, num_beams=1)
    answer = model.run(picture(), "od", settings=wanted)
    assert len(answer.token_ids) <= 10
    assert answer.token_ids != model.run(picture(), "od", max_new_tokens=9).token_ids


@pytest.mark.parametrize("num_beams", [1, 3])
def test_as_many_tokens_as_there_are_positions(num_beams: int, model: Florence2) -> None:
    """The limit equals the size of the position table, because the last token is never fed back."""
    settings = replace(model.bundle.generation, eos_token_id=1599, forced_eos_token_id=None, early_stopping="never")
    result = model.run(picture(), "od", num_beams=num_beams, max_new_tokens=80, settings=settings)
    assert len(result.token_ids) == 81
    assert result.truncated
    assert model.run(picture(), "od", num_beams=num_beams, max_new_tokens=1).token_ids == (2, 2)


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ({"max_new_tokens": 81}, LimitError, "max_new_tokens is 81; this model takes 1 to 80"),
        ({"settings": GenerationSettings(max_new_tokens=200)}, LimitError, "max_new_tokens is 200"),
        ({"settings": GenerationSettings()}, LimitError, "max_new_tokens is 1024"),
        ({"max_new_tokens": 0}, InputError, "max_new_tokens is 0; it must be at least 1"),
        ({"num_beams": 0}, InputError, "num_beams is 0; it must be at least 1"),
        ({"num_beams": -3}, InputError, "num_beams is -3"),
    ],
)
def test_limits(wanted: dict[str, Any], error: type[Exception], message: str, model: Florence2) -> None:
    """Each limit is named with the range that the model takes; a stream keeps to the same limits."""
    with pytest.raises(error, match=message):
        model.run(picture(), "od", **wanted)
    if "max_new_tokens" in wanted:
        with pytest.raises(error, match=message):
            list(model.encode(picture()).stream("od", max_new_tokens=wanted["max_new_tokens"]))


def test_the_longest_prompt(model: Florence2) -> None:
    """A prompt may fill the position table, begin and end included; one more token is refused."""
    limit = TINY.max_prompt_tokens
    longest = "<loc_7>" * (limit - 2)
    assert len(model.prompt_ids(longest)) == limit
    assert model.run(picture(), "", longest).token_ids[0] == 2
    with pytest.raises(
        LimitError, match=f"the prompt has {limit + 1} tokens, this bundle takes {limit}; shorten the text"
    ):
        model.run(picture(), "", longest + "<loc_8>")


def test_a_free_prompt_and_regions(model: Florence2) -> None:
    """A free text is passed on as it is; a region in pixels of the original image becomes location tokens."""
    encoded = model.encode(Image.fromarray(picture()))
    assert encoded.size == (110, 70)
    free = encoded.run("", FREE)
    assert free.task == ""
    assert free.answer.keys() == {""}
    region = encoded.run("region_to_category", region=(11.05, 7.05, 55.05, 35.05))
    tokens = "<loc_100><loc_100><loc_500><loc_500>"
    assert region.token_ids == encoded.run("", f"What is the region {tokens}?").token_ids
    with pytest.raises(TaskError, match="not an area inside the image of 110x70"):
        encoded.run("region_to_category", region=(0, 0, 111, 70))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((None,), {}, "`path` is None; give the directory of a bundle"),
        ((3,), {}, "`path` is 3; give the directory"),
        ((), {"device": 3}, "`device` is 3; give a name, such as CPU"),
        ((), {"threads": "2"}, "`threads` is '2'; it must be a whole number of at least 1"),
        ((), {"threads": 0}, "`threads` is 0; it must be a whole number"),
        ((), {"on_mismatch": "never"}, "on_mismatch is 'never'; it must be one of error, fallback, warn"),
        ((), {"on_mismatch": 0}, "on_mismatch is 0; it must be one of"),
    ],
)
def test_wrong_arguments_of_load(
    arguments: tuple[Any, ...], options: dict[str, Any], message: str, tiny_bundle: Path
) -> None:
    """Arguments of the wrong type end in f2edge's errors, which name the argument."""
    with pytest.raises(f2edge.F2EdgeError, match=message):
        f2edge.load(*arguments or (tiny_bundle,), **options)


@pytest.mark.parametrize("settings", [{}, [], 0, "", {"num_beams": 3}, 3])
def test_settings_of_another_type(settings: Any, model: Florence2) -> None:
    """Settings that are not GenerationSettings are refused, even if they are falsy."""
    with pytest.raises(InputError, match=r"`settings` is .*; give an f2edge.GenerationSettings"):
        model.run(picture(), "od", settings=settings)


@pytest.mark.parametrize("numbers", [{"num_beams": "3"}, {"num_beams": True}, {"max_new_tokens": 2.5}])
def test_numbers_of_another_type(numbers: dict[str, Any], model: Florence2) -> None:
    """Values of beams and tokens that are not integers are refused."""
    with pytest.raises(InputError, match="it must be a whole number"):
        model.run(picture(), "od", **numbers)


def test_on_a_device_by_name(tiny_bundle: Path) -> None:
    """A bundle opens on its own device by name; a device that does not exist is refused."""
    assert f2edge.load(tiny_bundle, "CPU").runtime.device == "CPU"
    with pytest.raises(DeviceError, match="no device XPU"):
        f2edge.load(str(tiny_bundle), "XPU")


@pytest.mark.parametrize("region", [(10, 7, 55, 35), [10.0, 7.0, 55.0, 35.0], np.array([10, 7, 55, 35])])
def test_a_region_is_four_numbers_of_any_sequence(region: Any, model: Florence2) -> None:
    """A region may be a tuple, a list or a row of an array."""
    expected = model.run(picture(), "region_to_category", region=(10.0, 7.0, 55.0, 35.0))
    assert model.run(picture(), "region_to_category", region=region).token_ids == expected.token_ids


def test_results_keep_a_thumbnail_if_requested(model: Florence2, monkeypatch: pytest.MonkeyPatch) -> None:
    """All results about one image share its thumbnail; by default, only notebooks have thumbnails."""
    assert not model.thumbnails
    assert model.run(picture(), "od").thumbnail is None
    monkeypatch.setattr(model, "thumbnails", True)
    encoded = model.encode(picture())
    first, second = encoded.run("od"), encoded.run("caption")
    assert first.thumbnail is second.thumbnail is encoded.thumbnail
    assert first.thumbnail
    assert first.thumbnail.size == encoded.size
    assert "<img" in first._repr_html_()


def test_a_notebook_wants_thumbnails(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thumbnails are on if the kernel of a notebook opens the bundle."""
    monkeypatch.setattr("f2edge.model.in_notebook", lambda: True)
    assert f2edge.load(tiny_bundle).thumbnails
