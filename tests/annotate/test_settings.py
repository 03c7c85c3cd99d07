"""Which settings are taken, and what depends on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from f2edge.annotate.parsing import Parser
from f2edge.annotate.settings import ALL, Settings, parse_tasks, read_blacklist
from f2edge.errors import InputError, TaskError

if TYPE_CHECKING:
    from pathlib import Path


def test_tasks_come_in_one_order() -> None:
    """However tasks are named and ordered, their order is that of the records."""
    assert parse_tasks(["od", "<CAPTION>", " Detailed_Caption"]) == ("<CAPTION>", "<DETAILED_CAPTION>", "<OD>")
    assert parse_tasks(ALL) == ALL


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["frobnicate"], "unknown task"),
        (["region_to_category"], "does not annotate a picture"),
        (["", " "], "names no task"),
        ([], "names no task"),
        (["caption_to_phrase_grounding", "od"], "needs a text to ground"),
        (["caption", "referring_expression_segmentation"], "needs phrases"),
    ],
)
def test_refused_tasks(names: list[str], reason: str) -> None:
    """Tasks that are unknown, need a region, or lack what they are about are refused."""
    with pytest.raises(TaskError, match=reason):
        parse_tasks(names)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shard", 0),
        ("min_objects", -1),
        ("min_relations", 1.5),
        ("min_confidence", 1.1),
        ("min_confidence", "x"),
        ("nms", 0),
    ],
)
def test_values_out_of_range(field: str, value: Any) -> None:
    """The line names the argument."""
    with pytest.raises(InputError, match=f"`{field}` is"):
        Settings(**{field: value})


@pytest.mark.parametrize("field", ["min_objects", "min_relations"])
def test_texts_cannot_be_judged_without_phrases(field: str) -> None:
    """If nothing finds the phrases of texts, a least number of them is refused: it would drop nothing."""
    values: dict[str, Any] = {field: 1}
    with pytest.raises(InputError, match=f"`{field}` is about the phrases .*; add caption_to_phrase_grounding"):
        Settings(("<CAPTION>",), **values)
    with pytest.raises(InputError, match=f"`{field}` is about the phrases .*; add one of caption, "):
        Settings(("<OD>",), **values, parser=Parser("p", "spacy p 1"))
    assert Settings(("<CAPTION>",), **{field: 0}).complexity == "none"
    assert Settings(("<CAPTION>",), **values, parser=Parser("p", "spacy p 1")).complexity == "spacy p 1"


def test_the_hash_is_of_what_annotations_depend_on() -> None:
    """Another threshold gives another hash; another size of shards does not."""
    assert Settings(shard=3).sha256() == Settings().sha256()
    assert Settings(nms=0.6).sha256() != Settings().sha256()


def test_blacklist_file(tmp_path: Path) -> None:
    """Phrases lose their case, blanks, order and repetitions; comments and empty lines do not count."""
    path = tmp_path / "words.txt"
    path.write_text("# unwanted\n\nRed  Star\nlogo\nred star\n", "utf-8")
    assert read_blacklist(path) == ("logo", "red star")
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_blacklist(path)
