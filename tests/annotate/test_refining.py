"""A second pass replaces annotations only where it is more certain."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from f2edge.annotate.directory import open_directory
from f2edge.annotate.records import Record
from f2edge.annotate.refining import check_comparable, refine
from f2edge.annotate.settings import Settings
from f2edge.errors import AnnotationError
from tests.support.annotations import SIZE, description, phrase, region, text

if TYPE_CHECKING:
    from pathlib import Path

BOX = (10.0, 10.0, 50.0, 50.0)
NEAR = (12.0, 10.0, 52.0, 50.0)
FAR = (60.0, 10.0, 100.0, 50.0)
PICTURE = Record("a.png", *SIZE, "picture")


def refined(old: list[Record], new: list[Record]) -> list[tuple[int, str]]:
    """Return the pass of each record beyond that of the picture, and why it was dropped."""
    second = [replace(one, passed=2) for one in (PICTURE, *new)]
    joined = refine([PICTURE, *old], second, Settings())
    assert [one.kind for one in joined].count("picture") == 1
    assert joined[0].passed == 2
    assert len(joined) == 1 + len(old) + len(new)
    return [(one.passed, one.reason) for one in joined[1:]]


def test_the_more_certain_region_stays() -> None:
    """At one place the more certain one stays, whatever its label; of equally certain ones the old one."""
    assert refined([region("star", BOX, 0.5)], [region("ring", NEAR, 0.8)]) == [(1, "replaced"), (2, "")]
    assert refined([region("star", BOX, 0.8)], [region("ring", NEAR, 0.5)]) == [(1, ""), (2, "less_certain")]
    assert refined([region("star", BOX, 0.8)], [region("star", BOX, 0.8)]) == [(1, ""), (2, "less_certain")]


def test_what_one_pass_has_found_stays() -> None:
    """Regions at other places, and those of other tasks, are added."""
    assert refined([region("star", BOX)], [region("star", FAR, 0.4)]) == [(1, ""), (2, "")]
    assert refined([region("a", BOX)], [region("a", BOX, task="dense_region_caption")]) == [(1, ""), (2, "")]
    assert refined([], [region("star", FAR)]) == [(2, "")]


def test_each_region_replaces_one() -> None:
    """Of two old regions at the place of a new one, that which overlaps it most is the same."""
    old = [region("star", (10, 10, 50, 42), 0.5), region("ring", BOX, 0.5)]
    assert refined(old, [region("ring", NEAR, 0.9)]) == [(1, ""), (1, "replaced"), (2, "")]


def test_what_was_dropped_stays_dropped() -> None:
    """Dropped records of both passes keep their reasons and replace nothing."""
    old = [region("star", BOX, 0.5), region("star", FAR, 0.1).dropped("confidence")]
    new = [region("star", BOX, 0.9).dropped("blacklist"), region("star", FAR, 0.9)]
    assert refined(old, new) == [(1, ""), (1, "confidence"), (2, "blacklist"), (2, "")]


def test_phrases_go_with_their_text() -> None:
    """If a text is replaced, so are its phrases; if it stays, the phrases of the new text are dropped."""
    old, new = text("a star", confidence=0.5), text("a ring", confidence=0.8)
    phrases = ([phrase("star", BOX, old, 0.9)], [phrase("ring", BOX, new, 0.4)])
    assert refined([old, *phrases[0]], [new, *phrases[1]]) == [(1, "replaced"), (1, "replaced"), (2, ""), (2, "")]
    old = replace(old, confidence=0.9)
    expected = [(1, ""), (1, ""), (2, "less_certain"), (2, "less_certain")]
    assert refined([old, *phrases[0]], [new, *phrases[1]]) == expected


def test_phrases_of_the_same_text_are_joined() -> None:
    """If both passes say the same, each phrase is the more certain one; other phrases at its place stay."""
    old, new = text("a star in a ring", confidence=0.9), text("a star in a ring", confidence=0.8)
    first = [phrase("star", BOX, old, 0.5), phrase("ring", BOX, old, 0.6)]
    second = [phrase("Star", NEAR, new, 0.7)]
    assert refined([old, *first], [new, *second]) == [(1, ""), (1, "replaced"), (1, ""), (2, "less_certain"), (2, "")]


def test_masks_are_compared_by_their_phrase() -> None:
    """A phrase has one mask, wherever it is."""
    caption, task = text("a star"), "referring_expression_segmentation"
    old, new = phrase("star", BOX, caption, 0.5, task=task), phrase("star", FAR, caption, 0.6, task=task)
    assert refined([caption, old], [caption, new]) == [(1, ""), (1, "replaced"), (2, "less_certain"), (2, "")]


def test_a_text_that_was_dropped_is_replaced() -> None:
    """A new text that is kept stands beside an old one that is not; an old one stays if the new one is dropped."""
    old, new = text("a star", confidence=0.9), text("a ring", confidence=0.2)
    assert refined([old.dropped("objects")], [new]) == [(1, "objects"), (2, "")]
    assert refined([old], [new.dropped("objects")]) == [(1, ""), (2, "objects")]


def test_pictures_that_cannot_be_read() -> None:
    """A picture that one pass can read has the records of that pass alone."""
    lost = PICTURE.dropped("unreadable", "gone")
    found = [PICTURE, region("star", BOX)]
    assert refine([lost], found, Settings()) == found
    assert refine(found, [lost], Settings()) == found
    assert refine([lost], [replace(lost, passed=2)], Settings()) == [replace(lost, passed=2)]


def test_several_pictures() -> None:
    """Records are joined with those of the same picture only."""
    other = [replace(one, image="b.png") for one in (PICTURE, region("star", BOX, 0.5))]
    old = [PICTURE, region("star", BOX, 0.5), *other]
    new = [PICTURE, region("star", BOX, 0.9), other[0]]
    joined = refine(old, [replace(one, passed=2) for one in new], Settings())
    assert [(one.image, one.kind, one.passed, one.kept) for one in joined] == [
        ("a.png", "picture", 2, True),
        ("a.png", "region", 1, False),
        ("a.png", "region", 2, True),
        ("b.png", "picture", 2, True),
        ("b.png", "region", 1, True),
    ]


def test_seen_is_of_all_passes() -> None:
    """A phrase is seen by the objects that are kept in the end."""
    caption = text("a star")
    unseen = replace(phrase("star", BOX, caption), seen=False)
    second = [replace(one, passed=2) for one in (PICTURE, caption, region("star", BOX))]
    joined = refine([PICTURE, caption, unseen], second, Settings())
    assert [one.seen for one in joined if one.kind == "phrase"] == [True]


@pytest.mark.parametrize("calibrated", [False, True])
def test_probabilities_are_not_compared_with_scores(calibrated: bool, tmp_path: Path) -> None:
    """If only one pass is calibrated for a task that both have, nothing tells which is more certain."""
    settings = Settings(("<OD>", "<CAPTION>"), shard=2)
    records = [PICTURE, text("a star"), region("star", BOX, calibrated=calibrated), region("x", FAR, task="other")]
    with open_directory(tmp_path, description(1, settings)) as before:
        before.write(0, records)
        check_comparable(before, settings, ["<OD>"] if calibrated else [])
        where = "in the run to `refine` and not in this bundle" if calibrated else "in this bundle and not in the run"
        with pytest.raises(AnnotationError, match=f"confidences of od are calibrated {where}"):
            check_comparable(before, settings, [] if calibrated else ["<OD>"])
        check_comparable(before, replace(settings, tasks=("<CAPTION>",)), ["<OD>"])
