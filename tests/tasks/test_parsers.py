"""Answers are parsed as Microsoft's code parses them, and no text makes a parser fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f2edge.decoding import Generation
from f2edge.tasks.answers import microsoft_scores, parse
from f2edge.tasks.confidence import Judge
from f2edge.tasks.location import location_text, to_bins, to_pixels
from f2edge.tasks.parsers import find_instances
from f2edge.tasks.table import TASKS
from f2edge.tasks.tagged_text import clean
from f2edge.tokenizer import Tokenizer
from tests.support.oracles import load

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (640, 480)
FRAGMENTS = [
    "<loc_1>",
    "<loc_999>",
    "<loc_1234567890123>",
    "<loc_>",
    "<loc_",
    "<sep>",
    "<poly>",
    "</poly>",
    "a",
]
FRAGMENTS += ["<s>", "</s>", "<pad>", "<od>", "\n", " ", "é", "<loc_5><loc_6><loc_7><loc_8>"]


def test_every_answer_equals_microsofts(oracles_dir: Path) -> None:
    """For all 653 recorded texts labels and float32 coordinates equal Microsoft's bit for bit."""
    oracle = load(oracles_dir / "postprocess.jsonl")
    assert len(oracle) == 653
    for line in oracle:
        assert parse(line["task"], line["text"], tuple(line["image_size"])) == line["microsoft"], line["text"]


def test_every_score_equals_microsofts(oracles_dir: Path) -> None:
    """All 48 scored answers equal Microsoft's."""
    tokenizer = Tokenizer.from_file(oracles_dir / "tokenizer")
    oracle = load(oracles_dir / "postprocess_scores.jsonl")
    assert len(oracle) == 48
    scored = 0
    for line in oracle:
        task, logprobs = TASKS[line["task"]], line["transition_scores"]
        pieces = tokenizer.decode_tokens(line["sequence"])
        text = "".join(pieces)
        expected = line["microsoft"][line["task"]]
        lone_pieces = tokenizer.decode_each(line["sequence"])
        assert "".join(lone_pieces[1:]) == line["decoded"]
        scores = microsoft_scores(task, lone_pieces[1:], logprobs)
        answer = parse(task.name, text, tuple(line["image_size"]))[task.name]
        assert answer == {"bboxes": expected["bboxes"], "labels": expected["labels"]}
        assert scores == pytest.approx(expected.get("scores", []), rel=1e-9)
        scored += len(scores)
    assert scored == 220


def test_vectors_of_the_specification() -> None:
    """The box of the car and the five-value polygon are parsed as in docs/florence2.md#test-vectors."""
    car = parse("<OD>", "</s><s>car<loc_53><loc_333><loc_933><loc_774></s>", SIZE)
    box = [34.23999786376953, 160.0800018310547, 597.4400024414062, 371.7599792480469]
    assert car == {"<OD>": {"bboxes": [box], "labels": ["car"]}}
    first = location_text([1, 2, 3, 4, 5]) + "<sep>" + location_text([6, 7, 8, 9])
    text = f"<poly>{first}</poly><poly>{location_text([1, 2, 3, 4])}</poly>"
    masks = find_instances(TASKS["<REFERRING_EXPRESSION_SEGMENTATION>"], text, SIZE)
    assert [[len(shape) for shape in mask.shapes] for mask in masks] == [[4, 4], [4]]


def test_clean_text_keeps_its_offsets() -> None:
    """Each remaining character has its offset in the original; tags are removed one kind after the other."""
    text = "a<s>b<<pad>s></s>c<s>"
    cleaned = clean(text, "<s>", "</s>", "<pad>")
    assert cleaned.text == "ab<s>c"
    assert "".join(text[offset] for offset in cleaned.offsets) == cleaned.text


@settings(deadline=None)
@given(
    st.sampled_from([*TASKS, "<FOO>"]),
    st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=30),
)
def test_no_text_makes_a_parser_fail(task: str, fragments: list[str]) -> None:
    """Any text gives an answer of finite numbers, and a confidence for each located instance."""
    answer = parse(task, "".join(fragments), SIZE)
    assert list(answer) == [task]
    json.dumps(answer, allow_nan=False)
    if task in TASKS:
        pieces = ["</s>", *fragments]
        instances = find_instances(TASKS[task], "".join(pieces), SIZE)
        generation = Generation(tuple(range(len(pieces))), (-1.0,) * len(fragments), 0.0, truncated=False)
        judged = Judge().judge(task, instances, pieces, generation)
        assert len(judged.confidences) == len(instances)
        assert all(0 < value <= 1 for value in judged.confidences)
        microsoft_scores(TASKS[task], fragments, [-1.0] * len(fragments))


@settings(deadline=None)
@given(st.lists(st.integers(0, 999), min_size=4, max_size=4), st.integers(1, 20000), st.integers(1, 20000))
def test_bins_survive_the_way_through_pixels(bins: list[int], width: int, height: int) -> None:
    """The centre of a bin lies in that bin, for pictures of any size."""
    assert to_bins(to_pixels(bins, (width, height)), (width, height)) == bins
