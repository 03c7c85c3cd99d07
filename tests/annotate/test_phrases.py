"""What the words of a text tell."""

from __future__ import annotations

import pytest

from f2edge.annotate.phrases import count_objects, count_relations, find, unwanted


def test_objects_are_distinct_phrases() -> None:
    """A phrase counts once, whatever its case."""
    assert count_objects(["a dog", "A dog", "a cat"]) == 2
    assert count_objects([]) == 0


@pytest.mark.parametrize(
    ("text", "phrases", "relations"),
    [
        ("a dog and a cat", ["dog", "cat"], 0),
        ("a dog, or the cat", ["dog", "cat"], 0),
        ("a dog sits on a mat", ["dog", "mat"], 1),
        ("A dog sits. A cat sleeps on a mat", ["dog", "cat", "mat"], 1),
        ("a dog with a ball near a cat", ["cat", "Ball", "dog"], 2),
        ("a red dog runs to a cat", ["red dog", "dog", "cat"], 1),
        ("a woman stands near a man", ["man", "woman"], 1),
        ("a hot dog on a mat", ["ot dog", "mat"], 0),
        ("a dog on a Straße near a cat", ["cat", "Straße", "dog"], 2),
        ("a dog", ["dog", "horse", ""], 0),
        ("", ["dog"], 0),
    ],
)
def test_relations(text: str, phrases: list[str], relations: int) -> None:
    """Neighbours in a sentence count if words join them; of overlapping phrases the first, and no part of a word."""
    assert count_relations(text, find(text, phrases)) == relations


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A Red  Star.", "red star"),
        ("red stars", ""),
        ("infrared star", ""),
        ("c++ code", "c++"),
        ("", ""),
    ],
)
def test_unwanted_phrases(text: str, found: str) -> None:
    """A phrase counts as whole words, whatever its case and the blanks in it."""
    assert unwanted(text, ("red star", "c++")) == found


def test_nothing_is_unwanted_without_a_blacklist() -> None:
    """An empty blacklist matches nothing."""
    assert unwanted("red star", ()) == ""
