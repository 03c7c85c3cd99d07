"""What is kept of the records of a picture, and why the others are dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from f2edge.annotate.filters import judge
from f2edge.annotate.records import REASONS, Record
from f2edge.annotate.settings import Settings
from tests.support.annotations import phrase, region, text

SETTINGS = Settings()
BOX = (10.0, 10.0, 50.0, 50.0)
FAR = (60.0, 10.0, 100.0, 50.0)


def reasons(records: list[Record], settings: Settings = SETTINGS) -> list[str]:
    """Return why each record was dropped, "" for those that are kept."""
    judged = judge(records, settings)
    assert [(one.kept, one.reason == "") for one in judged if one.kept != (one.reason == "")] == []
    assert {one.reason for one in judged} <= {"", *REASONS}
    assert [
        replace(one, kept=True, reason="", detail="", seen=None, objects=None, relations=None) for one in judged
    ] == [replace(one, kept=True, reason="", detail="", seen=None, objects=None, relations=None) for one in records]
    return [one.reason for one in judged]


def test_planted_faults_are_removed_and_the_good_stay() -> None:
    """Of a thousand regions all planted duplicates and uncertain ones go, and all others stay."""
    rng = np.random.default_rng(0)
    corners = rng.permutation([(80.0 * x, 80.0 * y) for x in range(25) for y in range(40)])
    good = [region("star", (x, y, x + 60, y + 60), float(rng.uniform(0.5, 1))) for x, y in corners]
    copies = [replace(one, box=tuple(np.add(one.box, rng.uniform(-3, 3, 4))), confidence=0.45) for one in good[::3]]  # type: ignore[arg-type]
    faint = [region("star", (x + 2000, y, x + 2060, y + 60), float(rng.uniform(0, 0.29))) for x, y in corners[::4]]
    planted = [*good, *copies, *faint]
    order = rng.permutation(len(planted))
    told = reasons([planted[index] for index in order])
    found = dict(zip(order, told, strict=True))
    assert {found[index] for index in range(len(good))} == {""}
    assert {found[index] for index in range(len(good), len(good) + len(copies))} == {"duplicate"}
    assert {found[index] for index in range(len(good) + len(copies), len(planted))} == {"confidence"}


def test_the_more_certain_one_stays() -> None:
    """Of two that overlap, order does not matter; of equally certain ones the first stays."""
    assert reasons([region("star", BOX, 0.5), region("star", BOX, 0.8)]) == ["duplicate", ""]
    assert reasons([region("star", BOX, 0.8), region("star", BOX, 0.8)]) == ["", "duplicate"]


@pytest.mark.parametrize(
    ("task", "second"), [("od", ""), ("dense_region_caption", "duplicate"), ("region_proposal", "duplicate")]
)
def test_labels_tell_objects_apart(task: str, second: str) -> None:
    """Only categories and phrases at one place can both be right; two descriptions of one place are of one object."""
    assert reasons([region("a", BOX, task=task), region("b", BOX, 0.8, task=task)]) == ["", second]


def test_answers_do_not_suppress_each_other() -> None:
    """The same object in the answers to two tasks is kept twice."""
    assert reasons([region("a", BOX), region("a", BOX, 0.8, task="dense_region_caption")]) == ["", ""]


def test_regions_without_an_area() -> None:
    """A box whose sides are exchanged or equal is dropped, and so is a mask without a polygon."""
    assert (
        reasons([region("a", (5, 5, 5, 9)), region("a", (9, 5, 2, 9)), replace(region("a", BOX), box=None)])
        == ["empty"] * 3
    )


def test_blacklist() -> None:
    """A text, a label or a phrase with a word of the blacklist is dropped, with that word as detail."""
    caption = text("a red star")
    records = [caption, region("Red star", BOX), region("infrared", FAR), phrase("red star", BOX, caption)]
    settings = Settings(blacklist=("red star",))
    assert reasons(records, settings) == ["blacklist", "blacklist", "", "blacklist"]
    assert judge(records, settings)[0].detail == "red star"


def test_texts_that_tell_little() -> None:
    """A text needs enough objects and relations; its count is of its kept phrases."""
    caption = text("a star above a ring and a cross")
    phrases = [phrase("star", BOX, caption), phrase("ring", FAR, caption), phrase("cross", FAR, caption, 0.1)]
    judged = judge([caption, *phrases], Settings(min_objects=2, min_relations=1))
    assert (judged[0].objects, judged[0].relations, judged[0].kept) == (2, 1, True)
    assert reasons([caption, *phrases], Settings(min_objects=3)) == ["objects", "text", "text", "confidence"]
    assert reasons([caption, *phrases], Settings(min_relations=2)) == ["relations", "text", "text", "confidence"]


def test_a_text_that_was_not_grounded_is_not_judged() -> None:
    """Without phrases nothing is known about the objects of a text; only an empty one is dropped."""
    ungrounded = text("a star", objects=None)
    assert reasons([ungrounded, text("", "detailed_caption", objects=None)], Settings(min_objects=5)) == ["", "empty"]


def test_a_truncated_text_stays_dropped() -> None:
    """What was dropped when it was read keeps its reason, and takes its phrases with it."""
    cut = text("a star and a").dropped("truncated")
    judged = judge([cut, phrase("star", BOX, cut)], SETTINGS)
    assert [one.reason for one in judged] == ["truncated", "text"]
    assert judged[0].objects == 1


def test_phrases_that_od_does_not_see() -> None:
    """A phrase is marked, not dropped, if no kept object is at its place."""
    caption = text("a star, a ring")
    phrases = [phrase("star", BOX, caption), phrase("ring", FAR, caption)]
    judged = judge([caption, region("star", BOX), region("ring", FAR, 0.1), *phrases], SETTINGS)
    assert [(one.seen, one.kept) for one in judged[-2:]] == [(True, True), (False, True)]
    assert [one.seen for one in judge([caption, *phrases], SETTINGS)[1:]] == [False, False]
    without = Settings(tasks=("<CAPTION>", "<CAPTION_TO_PHRASE_GROUNDING>"))
    assert [one.seen for one in judge([caption, *phrases], without)] == [None] * 3
