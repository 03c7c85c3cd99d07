"""A result holds what was located; what is absent is empty; its JSON has the documented keys."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from f2edge.arrays import Boxes, Quads
from f2edge.decoding import Generation
from f2edge.result import Result
from f2edge.tasks.table import TASKS
from f2edge.tokenizer import Tokenizer
from tests.support.oracles import load
from tests.support.results import SIZE, result_of

if TYPE_CHECKING:
    from pathlib import Path


def test_end_to_end_answers_of_the_oracle(oracles_dir: Path) -> None:
    """All recorded end-to-end sequences give Microsoft's parsed answer, scores included."""
    tokenizer = Tokenizer.from_file(oracles_dir / "tokenizer")
    cases: list[dict[str, Any]] = load(oracles_dir / "expected.json")["end_to_end"]
    assert len(cases) == 6
    for case in cases:
        search, name = case["generate"], case["task"]
        generation = Generation(
            tuple(search["sequence"]),
            tuple(search["transition_scores"]),
            search["sequences_score"],
            truncated=search["ended"] == "limit",
        )
        pieces = tokenizer.decode_tokens(generation.token_ids)
        lone_pieces = tokenizer.decode_each(generation.token_ids)
        result = Result.from_generation(TASKS[name], pieces, lone_pieces, generation, tuple(case["image_size"]))
        expected = case["microsoft"][name]
        if "scores" in case["microsoft_from_ids"][name]:
            scores = case["microsoft_from_ids"][name]["scores"]
            expected = {**expected, "scores": pytest.approx(scores, rel=1e-5)}
        assert result.text == search["text"]
        assert result.answer == {name: expected}


def test_scores_count_the_parts_of_a_character(oracles_dir: Path) -> None:
    """Where Microsoft's count of characters is shifted, each part of a character counts as one.

    A second ``<s>`` (3 characters) shifts the count.  The label has 4 characters of 10 tokens, so the first box
    gets the scores from the eighth part of the label on: tokens 9 to 15, whose log-probabilities are -9 to -15.
    """
    tokenizer = Tokenizer.from_file(oracles_dir / "tokenizer")
    box = [tokenizer.location_id(100)] * 4
    sequence = (2, 0, 0, *tokenizer.encode("北京烤鸭")[1:-1], *box, *tokenizer.encode("car")[1:-1], *box, 2)
    generation = Generation(sequence, tuple(-float(token) for token in range(len(sequence) - 1)), -0.7, truncated=False)
    pieces, lone_pieces = tokenizer.decode_tokens(sequence), tokenizer.decode_each(sequence)
    result = Result.from_generation(TASKS["<OD>"], pieces, lone_pieces, generation, SIZE)
    assert result.labels == ("北京烤鸭", "car")
    assert result.answer["<OD>"]["scores"] == pytest.approx([math.exp(-12), math.exp(-18)], rel=1e-9)


def test_boxes() -> None:
    """Boxes have labels and confidences; quads and polygons are empty."""
    result = result_of("od", "</s>", "<s>", "naïve cat", *["<loc_100>"] * 4, "</s>")
    assert result.labels == ("naïve cat",)
    assert result.boxes == ((100.5, 100.5, 100.5, 100.5),)
    assert result.scores == result.confidences == (pytest.approx(math.exp(-0.5 - 0.5)),)
    assert not result.calibrated
    assert (result.quads, result.polygons) == ((), ())
    answer = result.answer["<OD>"]
    assert isinstance(answer, dict)
    assert answer == {"bboxes": [[100.5] * 4], "labels": ["nave cat"], "scores": [math.exp(-0.5)]}


def test_quads_have_plain_labels() -> None:
    """Labels lack the ``</s>`` that Microsoft's first label begins with; the answer keeps it."""
    result = result_of("ocr_with_region", "</s>", "<s>", " STOP ", *["<loc_1>"] * 8, "</s>")
    assert result.labels == ("STOP",)
    assert [len(quad) for quad in result.quads] == [8]
    assert result.answer["<OCR_WITH_REGION>"] == {"quad_boxes": [[1.5] * 8], "labels": ["</s> STOP "]}


def test_polygons() -> None:
    """An instance of two polygons has one label and one confidence."""
    pieces = ["</s>", "<s>", *["<loc_1>"] * 6, "<sep>", *["<loc_2>"] * 4, "</s>"]
    result = result_of("referring_expression_segmentation", *pieces)
    assert [[len(polygon) for polygon in thing] for thing in result.polygons] == [[6, 4]]
    assert (len(result.labels), len(result.confidences), result.boxes) == (1, 1, ())


def test_text_has_nothing_located() -> None:
    """A caption has an answer; labels, boxes, quads, polygons and confidences are empty."""
    result = result_of("caption", "</s>", "<s>", "A cat", "</s>")
    assert result.answer == {"<CAPTION>": "A cat"}
    assert (result.labels, result.boxes, result.quads, result.polygons, result.confidences) == ((),) * 5


def test_plain_text() -> None:
    """The plain text lacks the special tokens around an answer and keeps locations and other tags."""
    result = result_of("od", "</s>", "<s>", " a <b> cat", "<loc_1>", "</s>", "<pad>")
    assert result.plain_text == "a <b> cat<loc_1>"


def test_json_has_the_documented_keys() -> None:
    """``to_json`` has exactly the documented keys, and JSON can hold all of it."""
    result = json.loads(json.dumps(result_of("od", "</s>", "<s>", "cat", *["<loc_1>"] * 4, "</s>").to_json()))
    assert list(result) == [
        *("task", "text", "token_ids", "token_logprobs", "score", "result", "labels", "boxes", "quads", "polygons"),
        *("confidences", "scores", "calibrated", "truncated", "steps", "timings_ms"),
    ]
    assert result["task"] == "<OD>"
    assert result["confidences"] == result["scores"] == [pytest.approx(math.exp(-0.5 - 0.5))]
    assert result["timings_ms"] == {"vision": 1.5}
    assert len(result["token_ids"]) == len(result["token_logprobs"]) + 1


def test_json_has_short_numbers() -> None:
    """Coordinates are written with the digits of a float32, and give the same float32 when they are read."""
    pieces = ["</s>", "<s>", "cat", "<loc_3>", "<loc_77>", "<loc_410>", "<loc_999>", "</s>"]
    result = result_of("od", *pieces)
    written = replace(
        result, boxes=((float(np.float32(3.78)), 0.1, 2.0, 1e-7),), timings_ms={"vision": 1.23456}
    ).to_json()
    assert json.dumps(written["boxes"]) == "[[3.78, 0.1, 2.0, 1e-07]]"
    assert written["timings_ms"] == {"vision": 1.235}
    (box,) = result.to_json()["result"]["<OD>"]["bboxes"]
    assert np.array_equal(np.float32(box), np.float32(result.boxes[0]))
    assert all(len(str(number)) < 10 for number in box)


@pytest.mark.parametrize("number", [0, 1, 3])
def test_boxes_and_quads_are_arrays_of_a_known_width(number: int) -> None:
    """The arrays have four and eight columns even if nothing of that kind was located."""
    boxes = result_of("od", "</s>", "<s>", *(["cat", *["<loc_1>"] * 4] * number), "</s>")
    quads = result_of("ocr_with_region", "</s>", "<s>", *(["cat", *["<loc_1>"] * 8] * number), "</s>")
    assert np.asarray(boxes.boxes).shape == (number, 4)
    assert np.asarray(boxes.quads).shape == (0, 8)
    assert np.asarray(quads.quads).shape == (number, 8)
    assert np.asarray(quads.boxes).shape == (0, 4)
    assert np.asarray(boxes.boxes).tolist() == [list(box) for box in boxes.boxes]


def test_rows_as_numpy_asks_for_them() -> None:
    """Rows convert to any dtype by either NumPy protocol; an array that is not a copy is refused."""
    rows = Boxes([(1.5, 2.0, 3.0, 4.0)])
    assert np.asarray(rows).dtype == np.float64
    assert np.array(rows, np.float32).dtype == np.float32
    assert rows.__array__(np.dtype(np.int64)).tolist() == [[1, 2, 3, 4]]  # as NumPy 1 calls it
    assert np.vstack([Boxes(), rows]).shape == (1, 4)
    with pytest.raises(ValueError, match="let NumPy copy it"):
        rows.__array__(copy=False)
    with pytest.raises(ValueError, match="reshape"):
        np.asarray(Boxes([(1.0, 2.0, 3.0)]))


def test_rows_are_tuples_otherwise() -> None:
    """Rows keep a tuple's equality, hash, truth value and JSON, and survive dataclass functions."""
    result = result_of("od", "</s>", "<s>", "cat", *["<loc_1>"] * 4, "</s>")
    plain = ((1.5, 1.5, 1.5, 1.5),)
    assert result.boxes == plain
    assert isinstance(result.boxes, tuple)
    assert hash(result.boxes) == hash(plain)
    assert repr(result.boxes) == repr(plain)
    assert (bool(result.boxes), bool(result.quads)) == (True, False)
    assert json.loads(json.dumps(result.boxes)) == [[1.5] * 4]
    assert type(asdict(result)["boxes"]) is Boxes
    assert type(replace(result, quads=((0.0,) * 8,)).quads) is Quads


def test_a_result_is_pickled_whole() -> None:
    """An unpickled result equals the original, and its boxes still convert to an array of known width."""
    result = result_of("od", "</s>", "<s>", "cat", *["<loc_1>"] * 4, "</s>")
    copy = pickle.loads(pickle.dumps(result))  # noqa: S301 - our own bytes
    assert copy == result
    assert type(copy.boxes) is Boxes
