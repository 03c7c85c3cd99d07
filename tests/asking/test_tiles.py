"""Large pictures in tiles: tiles cover the picture, and what several of them have in common counts once."""

from __future__ import annotations

from itertools import pairwise, product
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import f2edge
from f2edge.asking.merging import join
from f2edge.asking.stopped import StoppedError
from f2edge.asking.tiles import TASKS
from f2edge.asking.tiling import Tiling
from f2edge.errors import InputError, TaskError
from f2edge.tasks.table import resolve
from tests.support.results import SIZE, result_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.arrays import ByteArray
    from f2edge.model import Florence2
    from f2edge.result import Result

WHOLE = (0, 0, *SIZE)
RIGHT = (500, 0, 1500, 1000)
"""The place of a second part; a result of `result_of` is about 1000 x 1000 pixels."""


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Iterator[Florence2]:
    """Open the tiny bundle."""
    with f2edge.load(tiny_bundle, threads=1) as model:
        yield model


def picture(width: int = 120, height: int = 90) -> ByteArray:
    """Return a picture of noise."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def found(task: str, *things: tuple[str, tuple[int, ...]], logprob: float = -0.5) -> Result:
    """Return an answer with these labels, each at these bins; a bin is a pixel."""
    pieces = [piece for label, bins in things for piece in (label, *(f"<loc_{one}>" for one in bins))]
    return result_of(task, "</s>", "<s>", *pieces, "</s>", logprob=logprob)


@pytest.mark.parametrize(
    ("size", "tile", "overlap"), list(product([(100, 300), (1000, 501), (64, 64)], [64, 80, 999], [0, 0.2, 0.75]))
)
def test_tiles_cover_the_picture(size: tuple[int, int], tile: int, overlap: float) -> None:
    """Every pixel is in a tile, no tile is larger than asked, and neighbours have enough in common."""
    tiles = Tiling(tile, overlap).cut(size)
    seen = np.zeros(size[::-1], bool)
    for x1, y1, x2, y2 in tiles:
        assert 0 < x2 - x1 <= tile
        assert 0 < y2 - y1 <= tile
        seen[y1:y2, x1:x2] = True
    assert seen.all() or (tiles == [] and max(size) <= tile)
    for axis, length in enumerate(size):
        starts = sorted({box[axis] for box in tiles})
        assert all(b - a <= tile * (1 - overlap) + 1 for a, b in pairwise(starts))
        assert not starts or starts[-1] + min(tile, length) == length


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tile": 15}, "`tile` is 15; give a side of at least 16 pixels"),
        ({"tile": 40.5}, "`tile` is 40.5"),
        ({"tile": True}, "`tile` is True"),
        ({"tile": 40, "overlap": 1}, "`overlap` is 1; give a share from 0 to less than 1"),
        ({"tile": 40, "overlap": "a lot"}, "`overlap` is 'a lot'"),
        ({"tile": 40, "nms": 0}, "`nms` is 0; give an IoU above 0 and up to 1"),
        ({"tile": 40, "nms": float("nan")}, "`nms` is nan"),
    ],
)
def test_wrong_values(model: Florence2, values: dict[str, Any], words: str) -> None:
    """Each wrong value is named with what to give instead."""
    with pytest.raises(InputError, match=words):
        model.run(picture(), "od", **values)


def test_too_many_tiles() -> None:
    """A small tile in a large picture is refused with the number of tiles."""
    with pytest.raises(InputError, match=r"tiles of 16 pixels are 140,625 in a picture of 6000 x 6000"):
        Tiling(16, 0).cut((6000, 6000))


@pytest.mark.parametrize("task", ["caption", "caption_to_phrase_grounding", "region_to_category", ""])
def test_other_tasks_are_refused(model: Florence2, task: str) -> None:
    """Answers that are not about everything in a picture cannot be joined."""
    with pytest.raises(TaskError, match="`tile` is for tasks that locate everything in a picture"):
        model.run(picture(), task, "a dog", tile=40)


def test_what_two_parts_have_in_common_counts_once() -> None:
    """The more certain one stays; coordinates are those of the whole picture."""
    whole = found("od", ("car", (600, 100, 700, 200)), logprob=-0.6)
    part = found("od", ("car", (110, 100, 210, 200)), ("dog", (110, 100, 210, 200)), logprob=-0.1)
    joined = join(resolve("od"), [whole, part], [WHOLE, RIGHT], 0.5)
    np.testing.assert_allclose(joined.boxes, [[610, 100, 710, 200]] * 2, atol=1)
    assert joined.labels == ("car", "dog")
    assert joined.confidences == part.confidences
    assert joined.scores == part.scores
    answer = joined.answer["<OD>"]
    assert answer["labels"] == ["car", "dog"]
    assert answer["bboxes"] == [list(box) for box in joined.boxes]
    assert answer["scores"] == part.answer["<OD>"]["scores"]
    assert (joined.text, joined.token_ids) == (whole.text, whole.token_ids)


def test_a_part_of_an_object_gives_way_to_the_whole() -> None:
    """A box that ends at the border of its tile is dropped where a whole one covers it, though that is less certain."""
    whole = found("od", ("car", (300, 100, 700, 300)), logprob=-0.9)
    part = found("od", ("car", (0, 100, 200, 300)), logprob=-0.1)
    joined = join(resolve("od"), [whole, part], [WHOLE, RIGHT], 0.5)
    np.testing.assert_allclose(joined.boxes, [[300, 100, 700, 300]], atol=1)
    alone = join(resolve("od"), [found("od"), part], [WHOLE, RIGHT], 0.5)
    np.testing.assert_allclose(alone.boxes, [[500, 100, 700, 300]], atol=1)


def test_descriptions_of_one_thing_may_differ() -> None:
    """What a tile calls large is small in the whole picture: dense captions of one place count once."""
    whole = found("dense_region_caption", ("small car", (600, 100, 700, 200)), logprob=-0.6)
    part = found("dense_region_caption", ("large car", (100, 100, 200, 200)), logprob=-0.1)
    assert join(resolve("dense_region_caption"), [whole, part], [WHOLE, RIGHT], 0.5).labels == ("large car",)


def test_lines_of_text_are_in_reading_order() -> None:
    """Lines go from top to bottom, whichever part they come from."""
    low = found("ocr_with_region", ("below", (600, 500, 800, 500, 800, 550, 600, 550)))
    high = found("ocr_with_region", ("above", (100, 100, 300, 100, 300, 150, 100, 150)), logprob=-0.9)
    joined = join(resolve("ocr_with_region"), [low, high], [WHOLE, RIGHT], 0.5)
    assert joined.labels == ("above", "below")
    np.testing.assert_allclose(joined.quads[0], [600, 100, 800, 100, 800, 150, 600, 150], atol=1)
    assert joined.boxes == ()


@pytest.mark.parametrize("task", TASKS)
def test_an_engine_answers_in_tiles(model: Florence2, task: str) -> None:
    """The objects are those of the parts in their places, and one at a time gives what a batch gives."""
    image, options = picture(), {"num_beams": 1, "max_new_tokens": 24, "structured": True}
    tiled = model.run(image, task, tile=64, overlap=0, nms=1.0, **options)  # type: ignore[arg-type]
    places = [(0, 0, 120, 90), *Tiling(64, 0).cut((120, 90))]
    parts = [model.run(image[y1:y2, x1:x2], task, **options) for x1, y1, x2, y2 in places]  # type: ignore[arg-type]
    shapes = {
        tuple(round(value + place[axis % 2], 2) for axis, value in enumerate(shape))
        for part, place in zip(parts, places, strict=True)
        for shape in (*part.boxes, *part.quads)
    }
    assert {tuple(round(v, 2) for v in shape) for shape in (*tiled.boxes, *tiled.quads)} <= shapes
    assert tiled.steps == sum(part.steps for part in parts)
    assert tiled.text == parts[0].text
    assert tiled.image_size == (120, 90)
    single = model.run(image, task, tile=64, overlap=0, nms=1.0, timeout=600, **options)  # type: ignore[arg-type]
    assert (single.labels, single.boxes, single.quads) == (tiled.labels, tiled.boxes, tiled.quads)


def test_a_small_picture_is_asked_about_once(model: Florence2) -> None:
    """A picture that fits into a tile has the answer that it has without tiles."""
    tiled, plain = (model.run(picture(), "od", tile=tile, max_new_tokens=12) for tile in (500, None))
    assert (tiled.boxes, tiled.labels, tiled.steps) == (plain.boxes, plain.labels, plain.steps)


def test_tiles_can_be_stopped(model: Florence2) -> None:
    """A cancelled answer raises before the next tile."""
    cancel = Event()
    cancel.set()
    with pytest.raises(StoppedError):
        model.run(picture(), "od", tile=64, cancel=cancel)


def test_tiles_among_many_questions(model: Florence2) -> None:
    """A question with tiles among others has the answer that it has alone, and the answers keep their order."""
    image, options = picture(), {"num_beams": 1, "max_new_tokens": 24, "structured": True}
    tiled = f2edge.Ask(image, "od", tile=64, overlap=0, nms=1.0, **options)  # type: ignore[arg-type]
    plain = f2edge.Ask(image, "caption", num_beams=1, max_new_tokens=12)
    results = list(model.run_many([plain, tiled, plain, tiled], batch=3))
    alone = model.run(image, "od", tile=64, overlap=0, nms=1.0, **options)  # type: ignore[arg-type]
    assert [result.task for result in results] == ["<CAPTION>", "<OD>", "<CAPTION>", "<OD>"]
    assert results[0].token_ids == results[2].token_ids
    for result in results[1::2]:
        assert (result.labels, result.boxes, result.steps) == (alone.labels, alone.boxes, alone.steps)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"tile": 15}, "`tile` is 15"),
        ({"tile": 40, "task": "caption"}, "`tile` is for tasks that locate everything"),
    ],
)
def test_a_wrong_question_with_tiles_comes_after_the_answers(
    model: Florence2, wrong: dict[str, Any], words: str
) -> None:
    """The questions before it are answered first."""
    asks = [f2edge.Ask(picture(), "od", max_new_tokens=8), f2edge.Ask(picture(), **{"task": "od", **wrong})]
    answers = model.run_many(asks)
    assert next(answers).task == "<OD>"
    with pytest.raises(InputError, match=words):
        next(answers)


def test_an_encoded_image_cannot_be_cut(model: Florence2) -> None:
    """Its pixels are gone, so tiles are refused, whoever is asked."""
    image = model.encode(picture())
    with pytest.raises(InputError, match="an encoded image has no pixels to cut into tiles"):
        list(model.run_many([f2edge.Ask(image, "od", tile=40)]))
    with pytest.raises(InputError, match="an encoded image has no pixels to cut into tiles"):
        list(image.run_many([f2edge.Ask(None, "od", tile=40)]))


def test_many_questions_with_tiles_can_be_stopped(model: Florence2) -> None:
    """The error counts questions, not tiles."""
    cancel = Event()
    answers = model.run_many([f2edge.Ask(picture(), "od", tile=64, max_new_tokens=8)] * 6, batch=2, cancel=cancel)
    next(answers)
    cancel.set()
    with pytest.raises(StoppedError, match=r"the answers were stopped after [1-3] of them"):
        list(answers)
