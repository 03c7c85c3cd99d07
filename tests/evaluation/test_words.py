"""The words of captions and the normal form of answers, as recorded from coco-caption and the VQA challenge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.evaluation.vqa import normalise_answer
from f2edge.evaluation.words import words

if TYPE_CHECKING:
    from pathlib import Path


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the recorded cases of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_recorded_captions(oracles_dir: Path) -> None:
    """The words of 404 captions that are hard to split equal those of the Java program."""
    cases = lines(oracles_dir / "caption_words.jsonl")
    assert len(cases) == 404
    for case in cases:
        assert " ".join(words(case["caption"])) == case["words"], case["caption"]


def test_all_recorded_answers(oracles_dir: Path) -> None:
    """Random answers and every contraction of the challenge are normalised like by the challenge's code."""
    cases = lines(oracles_dir / "vqa_answers.jsonl")
    assert len(cases) > 250
    for case in cases:
        assert normalise_answer(case["answer"]) == case["normal"], case["answer"]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A man's dog, in the U.S.", "a man 's dog in the u.s."),
        ("two dogs (one red)", "two dogs -lrb- one red -rrb-"),
        ("I cannot see it!", "i can not see it"),
        ("O'Brien's '90s car", "o'brien 's '90s car"),
        ("“It’s 3 1/2 inches”", "it 's 3 1/2 inches"),
        ("a letter A. The dog", "a letter a the dog"),
        ("", ""),
        (" \n\t", ""),
        ("…", ""),
    ],
)
def test_captions_by_hand(caption: str, expected: str) -> None:
    """Clitics are split off, points of abbreviations stay, brackets become names, and most other marks are dropped."""
    assert " ".join(words(caption)) == expected


def test_a_long_caption_without_spaces() -> None:
    """No pattern takes exponential time; otherwise this test would not end."""
    for piece in ("a", "1,", "a.", "'", "<", "-", "a'", "&", "a@", "a-", "a/", ". ", "(1", "é"):
        assert words(piece * 2_000) is not None
