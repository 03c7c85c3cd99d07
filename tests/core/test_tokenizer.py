"""Texts become ids and ids become texts, with Microsoft's tokenizer, a saved one and a small one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from f2edge.errors import CheckpointError, TaskError
from f2edge.tokenizer import ADDED_TOKENS, Tokenizer
from tests.support.oracles import load
from tests.support.prompts import expand_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASICS = ["<s>", "<pad>", "</s>", "<unk>"]


def small_backend(specials: list[str]) -> Backend:
    """Return a byte-level BPE of a few hundred entries that begins with the special tokens."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(["a red circle left of a blue square"], trainer)
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return backend


@pytest.fixture(scope="module")
def microsoft(oracles_dir: Path) -> Tokenizer:
    """Return Microsoft's tokenizer; the tokens that its file lacks are added when it is read."""
    return Tokenizer.from_file(oracles_dir / "tokenizer")


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    """Return a small tokenizer whose location tokens have other ids than Microsoft's."""
    return Tokenizer(small_backend([*BASICS, *ADDED_TOKENS]))


@pytest.mark.parametrize("text", ["\udcff", "a car \ud800", "\udce9t\udce9"])
def test_text_that_is_not_unicode(text: str, small: Tokenizer) -> None:
    """Surrogates, which Python makes of arguments that are not UTF-8, are refused with their position."""
    with pytest.raises(TaskError, match="not valid Unicode from character") as error:
        small.encode(text)
    str(error.value).encode("utf-8")
    assert small.encode("\N{GRINNING FACE}")[0] == 0


def test_added_tokens_have_their_ids(microsoft: Tokenizer) -> None:
    """The 1,024 added tokens follow the 50,265 in the order of docs/florence2.md#tokenizer."""
    assert len(ADDED_TOKENS) == 1024
    assert microsoft.vocab_size == 51289
    named = {"<od>": 50265, "</ocr>": 50268, "<cap>": 51269, "<sep>": 51279, "<region_to_desciption>": 51282}
    for token, token_id in {**named, "<poly>": 51286, "</poly>": 51287, "<and>": 51288}.items():
        assert microsoft.encode(token) == [0, token_id, 2]
    assert [microsoft.location_id(number) for number in range(1000)] == list(range(50269, 51269))


def test_every_prompt_has_the_oracles_ids(microsoft: Tokenizer, oracles_dir: Path) -> None:
    """Of the 202 recorded prompts 197 give Microsoft's text and ids, and 5 are refused."""
    lines = load(oracles_dir / "prompts.jsonl")
    refused = 0
    for line in lines:
        if "error" in line:
            refused += 1
            with pytest.raises(TaskError, match="takes no input"):
                expand_prompt(line["prompt"])
        else:
            task, text = expand_prompt(line["prompt"])
            assert (task.name or None, text) == (line["task"], line["text"])
            assert microsoft.encode(text) == line["ids"]
    assert (len(lines), refused) == (202, 5)


def test_space_before_an_added_token_survives(microsoft: Tokenizer) -> None:
    """A space before a location token keeps its ids 976, 1437, 50322 (docs/florence2.md#test-vectors)."""
    ids = microsoft.encode("What is the region <loc_53><loc_334><loc_933><loc_775>?")
    assert ids == [0, 2264, 16, 5, 976, 1437, 50322, 50603, 51202, 51044, 116, 2]


def test_decode_keeps_specials_and_puts_nothing_between(microsoft: Tokenizer) -> None:
    """Decoding keeps special tokens and adds no spaces: the example of docs/florence2.md#test-vectors."""
    ids = [2, 0, 5901, 50322, 50602, 51202, 51043, 11219, 3679, 50694, 2]
    assert microsoft.decode(ids) == "</s><s>car<loc_53><loc_333><loc_933><loc_774>door handle<loc_425></s>"


def test_decoded_texts_of_the_oracle(microsoft: Tokenizer, oracles_dir: Path) -> None:
    """All 9 recorded sequences decode to the recorded text, at once and token by token."""
    expected = load(oracles_dir / "expected.json")
    searches = [search for case in expected["cases"] for search in case["generate"].values()]
    assert len(searches) == 9
    for search in searches:
        assert microsoft.decode(search["sequence"]) == search["text"]
        assert "".join(microsoft.decode_tokens(search["sequence"])) == search["text"]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_pieces_join_to_the_text(text: str) -> None:
    """Each token has one piece, and the pieces joined are the text, whatever characters are split."""
    tokenizer = Tokenizer(BYTES)
    ids = tokenizer.encode(text)
    pieces = tokenizer.decode_tokens(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == tokenizer.decode(ids)
    if "<" not in text:
        assert "".join(pieces) == f"<s>{text}</s>"


@settings(deadline=None)
@given(st.lists(st.integers(0, 1400), max_size=30))
def test_pieces_of_any_ids(ids: list[int]) -> None:
    """Broken characters and ids beyond the vocabulary decode piece by piece to the same text as at once."""
    tokenizer = Tokenizer(BYTES)
    pieces = tokenizer.decode_tokens(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == tokenizer.decode(ids)


def test_split_character_belongs_to_its_last_token() -> None:
    """A character split over tokens is the piece of its last token; a location token has its own."""
    tokenizer = Tokenizer(BYTES)
    pieces = tokenizer.decode_tokens(tokenizer.encode("日<loc_7>"))
    assert pieces == ["<s>", "", "", "日", "<loc_7>", "</s>"]


def test_pieces_come_as_their_tokens_do() -> None:
    """Each piece comes before the next token is read; a character that is cut off becomes one more piece."""
    tokenizer, taken = Tokenizer(BYTES), []

    def token_ids(count: int) -> Iterator[int]:
        for token_id in tokenizer.encode("é€")[1 : 1 + count]:
            taken.append(token_id)
            yield token_id

    assert [(piece, len(taken)) for piece in tokenizer.pieces(token_ids(5))] == [
        *[("", 1), ("é", 2)],
        *[("", 3), ("", 4), ("€", 5)],
    ]
    assert list(tokenizer.pieces(token_ids(4))) == ["", "é", "", "", "\N{REPLACEMENT CHARACTER}"]
    assert tokenizer.decode_tokens(list(token_ids(4))) == ["", "é", "", "\N{REPLACEMENT CHARACTER}"]
    assert list(tokenizer.pieces([])) == []


def test_saved_file_is_self_contained(microsoft: Tokenizer, tmp_path: Path) -> None:
    """A saved tokenizer holds the added tokens and gives the same ids."""
    microsoft.save(tmp_path / "tokenizer.json")
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert Backend.from_file(str(tmp_path / "tokenizer.json")).token_to_id("<and>") == 51288
    text = "two dogs <loc_5><sep> café <mask>"
    assert again.vocab_size == 51289
    assert again.encode(text) == microsoft.encode(text)


def test_small_tokenizer_keeps_its_own_ids(small: Tokenizer) -> None:
    """Location ids are looked up, not assumed, and tokens that are there are not added again."""
    assert small.location_id(0) == 8
    assert small.encode("<loc_999>") == [0, 1007, 2]
    assert small.decode(small.encode("a red circle<loc_1>")) == "<s>a red circle<loc_1></s>"
    assert small.vocab_size < 2001


def test_truncation_and_padding_of_the_file_are_ignored() -> None:
    """A prompt is neither cut nor padded, even if the file asks for it."""
    backend = small_backend([*BASICS, *ADDED_TOKENS])
    backend.enable_truncation(4)
    backend.enable_padding(length=64)
    assert len(Tokenizer(backend).encode("a red circle left of a blue square")) > 4
    assert Tokenizer(backend).encode("") == [0, 2]


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    """A missing file, a file that is not JSON, and other tokenizers are refused."""
    file = tmp_path / "tokenizer.json"
    with pytest.raises(CheckpointError, match="no tokenizer at"):
        Tokenizer.from_file(tmp_path)
    bare = small_backend([*BASICS, *ADDED_TOKENS])
    bare.post_processor = processors.ByteLevel()
    half = small_backend([*BASICS, *ADDED_TOKENS[:500]])
    for content in ("hello", "{}", bare.to_str(), half.to_str()):
        file.write_text(content)
        with pytest.raises(CheckpointError, match=r"tokenizer\.json") as caught:
            Tokenizer.from_file(file)
        assert "\n" not in str(caught.value)


BYTES = small_backend([*BASICS, *ADDED_TOKENS])
