"""Noun phrases of texts by a pipeline of spaCy, and what is refused of one."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from f2edge.annotate.filters import judge
from f2edge.annotate.parsing import Parser, open_parser
from f2edge.annotate.phrases import count_relations
from f2edge.annotate.settings import Settings
from f2edge.errors import InputError, MissingExtraError
from tests.support import english
from tests.support.annotations import text

if TYPE_CHECKING:
    from pathlib import Path

spacy = pytest.importorskip("spacy", reason="install the extra spacy to run this test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a pipeline."""
    place = tmp_path_factory.mktemp("pipeline") / "drawn"
    english.train(place)
    return place


@pytest.fixture(scope="module")
def parser(folder: Path) -> Parser:
    """Open the pipeline."""
    return open_parser(str(folder))


@pytest.mark.parametrize(
    ("words", "phrases", "relations"),
    [
        ("a small red star", ["small red star"], 0),
        ("a dog and the cat", ["dog", "cat"], 0),
        ("the dog sleeps near a large blue box", ["dog", "large blue box"], 1),
        ("it stands on a mat", ["mat"], 0),
        ("A cat with a star. It sits on the mat.", ["cat", "star", "mat"], 1),
        ("a dog with a dog near a dog", ["dog", "dog", "dog"], 2),
        ("", [], 0),
    ],
)
def test_noun_phrases(parser: Parser, words: str, phrases: list[str], relations: int) -> None:
    """They come in their order, without articles, each where it stands; a pronoun is none."""
    places = parser.noun_phrases(words)
    assert [words[place.start : place.end] for place in places] == phrases
    assert count_relations(words, places) == relations


def test_texts_are_judged_by_what_the_parser_finds(parser: Parser) -> None:
    """A text does not need to be grounded, and phrases that the model does not locate count."""
    settings = Settings(min_objects=2, min_relations=1, parser=parser)
    texts = [text("a dog sits on a mat", objects=None), text("a dog and a cat", "detailed_caption", objects=None)]
    judged = judge([*texts, text("a red ring", "more_detailed_caption")], settings)
    assert [(one.objects, one.relations, one.reason) for one in judged] == [
        (2, 1, ""),
        (2, 0, "relations"),
        (1, 0, "objects"),
    ]


def test_the_identity_is_of_the_weights(parser: Parser, folder: Path, tmp_path: Path) -> None:
    """A copy elsewhere is the same parser for the settings; one that was trained anew under the same name is not."""
    assert parser.identity.startswith(f"spacy {spacy.__version__} en_drawn ")
    copy = open_parser(str(shutil.copytree(folder, tmp_path / "copy")))
    assert copy.place != parser.place
    assert Settings(parser=copy).to_json() == Settings(parser=parser).to_json()
    assert Settings(parser=parser).complexity == parser.identity
    english.train(tmp_path / "anew", seed=1)
    pipeline = spacy.load(folder)
    pipeline.vocab.set_vector("dog", np.ones(3, np.float32))
    pipeline.to_disk(tmp_path / "vectors")
    for other in ("anew", "vectors"):
        assert open_parser(str(tmp_path / other)).identity != parser.identity


def test_another_process_must_have_the_same_one(parser: Parser) -> None:
    """A parser can be sent; where another pipeline has its name, that is said."""
    assert pickle.loads(pickle.dumps(parser)) == parser  # noqa: S301 - our own bytes
    with pytest.raises(InputError, match=r"is spacy .* en_drawn .* here; the run was begun with spacy en_other"):
        replace(parser, identity="spacy en_other 1.0 (00000000)").noun_phrases("a dog")


def test_what_is_no_parser(tmp_path: Path) -> None:
    """A name that is not installed, a folder without a pipeline, and a pipeline that cannot parse are refused."""
    (tmp_path / "empty").mkdir()
    for place in ("en_core_web_absent", str(tmp_path / "empty")):
        with pytest.raises(InputError, match=r"is no pipeline that spaCy can load .* give the directory of one"):
            open_parser(place)
    german = english.untrained("de")
    german.initialize(lambda: english.examples(german, 4))
    for language, pipeline in (("en", spacy.blank("en")), ("xx", spacy.blank("xx")), ("de", german)):
        pipeline.to_disk(tmp_path / language)
        with pytest.raises(InputError, match="finds no noun phrases of English"):
            open_parser(str(tmp_path / language))


def test_without_spacy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra to install is named."""
    monkeypatch.setattr("f2edge.annotate.parsing.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"f2edge\[spacy\]"):
        open_parser("en_core_web_absent2")
