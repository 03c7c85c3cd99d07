"""The settings of the search are those that the checkpoint asks for, or the checkpoint is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.compile.checkpoint.generation import generation_settings
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import CheckpointError
from tests.support.checkpoints import GENERATION, TINY, text_config

if TYPE_CHECKING:
    from f2edge.compile.checkpoint.names import Layout

FLORENCE = GenerationSettings(max_new_tokens=TINY.decoder_positions)
SILENT = GenerationSettings(
    num_beams=1,
    max_new_tokens=TINY.decoder_positions,
    early_stopping=False,
    no_repeat_ngram_size=0,
    forced_bos_token_id=None,
    forced_eos_token_id=None,
    eos_token_id=None,
)
"""What transformers does where nothing is said."""


def settings(layout: Layout, text: dict[str, Any], generation: dict[str, Any] | None, **top: Any) -> GenerationSettings:
    """Return the defaults of the search; ``top`` are fields of ``config.json`` itself."""
    return generation_settings(layout, {"text_config": text, **top}, generation, TINY)


def native(**generation: Any) -> GenerationSettings:
    """Return the defaults of the search of a checkpoint in transformers' layout with these fields besides the usual."""
    return settings("transformers", {}, {**GENERATION, **generation})


def test_microsofts_settings_stand_in_the_text_config() -> None:
    """Its generation_config.json is ignored, as Microsoft's generate ignores it."""
    found = settings("microsoft", {**GENERATION, "num_beams": 4, "length_penalty": 0.5}, {"num_beams": 7})
    assert (found.num_beams, found.length_penalty, found.forced_bos_token_id) == (4, 0.5, 0)


def test_transformers_settings_stand_in_the_generation_config() -> None:
    """And not in config.json, if the file is there."""
    found = settings("transformers", {"num_beams": 7}, {**GENERATION, "early_stopping": "never"}, num_beams=8)
    assert (found.num_beams, found.early_stopping) == (3, "never")


def test_no_file_means_what_config_json_says() -> None:
    """Transformers searches greedily, to the end tokens of the text config, unless config.json says otherwise."""
    ids = {name: GENERATION[name] for name in ("eos_token_id", "decoder_start_token_id", "forced_eos_token_id")}
    found = settings("transformers", {**text_config(TINY), **ids}, None)
    assert found == GenerationSettings(
        num_beams=1,
        max_new_tokens=TINY.decoder_positions,
        early_stopping=False,
        no_repeat_ngram_size=0,
        forced_bos_token_id=None,
    )
    above = settings("transformers", {**ids, "num_beams": 2, "min_length": 5}, None, num_beams=4, eos_token_id=[2, 5])
    assert (above.num_beams, above.min_length, above.eos_token_id) == (4, 5, (2, 5))


def test_what_is_absent_is_transformers_default() -> None:
    """Greedy, nothing forced, nothing banned; null is as good as absent."""
    assert settings("transformers", {}, {"decoder_start_token_id": 2}) == SILENT
    nulls = {**dict.fromkeys([*GENERATION, "max_length", "suppress_tokens", "do_sample"]), "decoder_start_token_id": 2}
    assert settings("transformers", {}, nulls) == SILENT


def test_what_is_absent_in_microsofts_layout() -> None:
    """Greedy too; its configuration class knows the tokens that begin and end an answer."""
    found = settings("microsoft", {}, None)
    assert (found.num_beams, found.decoder_start_token_id, found.eos_token_id, found.forced_eos_token_id) == (
        1,
        2,
        2,
        2,
    )


def test_an_answer_begins_with_the_begin_token_if_no_other_is_named() -> None:
    """As in transformers, which fails if there is neither."""
    assert settings("transformers", {}, {"bos_token_id": 5}).decoder_start_token_id == 5
    with pytest.raises(CheckpointError, match=r"generation_config.json has neither decoder_start_token_id nor bos"):
        settings("transformers", {}, {})


@pytest.mark.parametrize(
    ("said", "longest"),
    [
        ({}, 80),
        ({"max_new_tokens": 7}, 7),
        ({"max_length": 20}, 19),
        ({"max_length": 20, "max_new_tokens": 30}, 30),
        ({"max_new_tokens": 5000}, 80),
    ],
)
def test_the_longest_answer(said: dict[str, int], longest: int) -> None:
    """Either field, the one that counts new tokens first, and at most what the model has positions for."""
    assert native(**said).max_new_tokens == longest


def test_a_maximum_that_old_configurations_carry() -> None:
    """Transformers 4 wrote 20 into each text config, whether somebody had set it or not."""
    assert settings("microsoft", {"max_length": 20}, None).max_new_tokens == 80
    assert settings("microsoft", {"max_length": 21}, None).max_new_tokens == 20


@pytest.mark.parametrize("said", [{"max_length": 1}, {"max_length": "x"}, {"max_new_tokens": 0}])
def test_a_maximum_without_an_answer(said: dict[str, Any]) -> None:
    """There is no answer of no tokens."""
    with pytest.raises(CheckpointError, match="max_new_tokens or max_length"):
        native(**said)


def test_lists_of_tokens() -> None:
    """A list of one end token is that token; longer ones and all other lists become tuples."""
    assert native(eos_token_id=[2]).eos_token_id == 2
    found = native(
        eos_token_id=[2, 5],
        suppress_tokens=[7],
        begin_suppress_tokens=[8],
        bad_words_ids=[[9], [10, 11]],
        sequence_bias=[[[9, 10], -1.5]],
        exponential_decay_length_penalty=[5, 1.1],
    )
    assert found.eos_token_id == (2, 5)
    assert found.suppress_tokens == (7,)
    assert found.begin_suppress_tokens == (8,)
    assert found.bad_words_ids == ((9,), (10, 11))
    assert found.sequence_bias == (((9, 10), -1.5),)
    assert found.exponential_decay_length_penalty == (5, 1.1)


def test_numbers() -> None:
    """Each is read under its own name."""
    numbers = {"repetition_penalty": 1.3, "min_length": 5, "min_new_tokens": 4, "renormalize_logits": True}
    found = native(**numbers)
    assert {name: getattr(found, name) for name in numbers} == numbers


@pytest.mark.parametrize(
    "ignored",
    [
        {"do_sample": False, "temperature": 0.3, "top_k": 5, "top_p": 0.5, "min_p": 0.1, "typical_p": 0.2},
        {"use_cache": False, "cache_implementation": "static", "output_scores": True},
        {"diversity_penalty": 0.5, "num_beam_groups": 1, "penalty_alpha": 0, "guidance_scale": 1.0},
        {"num_return_sequences": 1, "encoder_repetition_penalty": 1.0, "encoder_no_repeat_ngram_size": 0},
        {"remove_invalid_values": True, "transformers_version": "4.41.0", "_from_model_config": True},
        {"task_specific_params": {"x": 1}, "suppress_tokens": None, "bad_words_ids": None, "stop_strings": None},
        {"suppress_tokens": [], "begin_suppress_tokens": [], "bad_words_ids": []},
        {"num_assistant_tokens": 20, "assistant_confidence_threshold": 0.4, "low_memory": False},
    ],
)
def test_what_changes_no_answer(ignored: dict[str, Any]) -> None:
    """Settings of sampling where nothing is sampled, neutral values, and what is about memory and outputs."""
    assert native(**ignored) == FLORENCE


REFUSED: dict[str, Any] = {
    "do_sample": True,
    "num_beam_groups": 3,
    "penalty_alpha": 0.6,
    "dola_layers": "high",
    "constraints": [1],
    "force_words_ids": [[5]],
    "low_memory": True,
    "num_return_sequences": 3,
    "guidance_scale": 1.5,
    "watermarking_config": {"bias": 2.0},
    "token_healing": True,
    "stop_strings": ["."],
    "max_time": 1.0,
    "prompt_lookup_num_tokens": 3,
    "assistant_early_exit": 2,
    "use_mtp": True,
    "is_assistant": True,
    "encoder_repetition_penalty": 1.2,
    "encoder_no_repeat_ngram_size": 3,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_f2edge_does_not_do(name: str) -> None:
    """One line names the file, the field and what it would do, in either layout."""
    for place, read in (
        ("generation_config.json", lambda said: native(**said)),
        ("text_config", lambda said: settings("microsoft", said, None)),
    ):
        with pytest.raises(CheckpointError, match=rf"{place}: {name} ") as error:
            read({name: REFUSED[name]})
        assert len(str(error.value)) < 150


def test_sampling_is_refused_with_the_reason() -> None:
    """It is the one that is met in the field."""
    with pytest.raises(CheckpointError) as error:
        native(do_sample=True, temperature=0.7)
    assert str(error.value) == (
        "generation_config.json: do_sample true draws tokens at random, and f2edge searches deterministically; "
        "remove it to search without"
    )


def test_a_forced_token_that_is_suppressed() -> None:
    """Transformers refuses it as well: nothing would be left."""
    with pytest.raises(CheckpointError, match="forced_bos_token_id is 0, which suppress_tokens takes away"):
        native(suppress_tokens=[0])


@pytest.mark.parametrize("name", [*GENERATION, "length_penalty"])
@pytest.mark.parametrize("value", ["x", -1, 2.5, {}, [-1, 2], []])
def test_settings_that_no_search_can_follow(name: str, value: Any) -> None:
    """One line of ours; a length penalty may be negative and broken."""
    if name == "length_penalty" and isinstance(value, (int, float)):
        assert native(**{name: value}).length_penalty == value
        return
    with pytest.raises(CheckpointError, match=name):
        native(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repetition_penalty", 0),
        ("repetition_penalty", "1.3"),
        ("min_length", 2.5),
        ("min_new_tokens", -1),
        ("suppress_tokens", 5),
        ("suppress_tokens", ["5"]),
        ("begin_suppress_tokens", [[5]]),
        ("bad_words_ids", [5]),
        ("bad_words_ids", [[]]),
        ("sequence_bias", [[5, 1.0]]),
        ("exponential_decay_length_penalty", [5]),
        ("renormalize_logits", 1),
        ("num_beams", 65),
        ("length_penalty", math.inf),
    ],
)
def test_values_beyond_reason(name: str, value: Any) -> None:
    """A checkpoint's fault, not the user's."""
    with pytest.raises(CheckpointError, match=rf"the checkpoint's generation settings: .*{name}"):
        native(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("num_beams", 0, "the checkpoint's generation settings: text_config: num_beams is 0; it must be at least 1"),
        ("num_beams", "x", "the checkpoint's generation settings: text_config.num_beams is 'x', not int"),
    ],
)
def test_the_message_about_a_setting_reads_as_a_sentence(name: str, value: Any, message: str) -> None:
    """The check of a value and the check of its type word their errors differently; both follow a colon."""
    with pytest.raises(CheckpointError) as caught:
        settings("microsoft", {name: value}, {})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, TINY.vocab_size) for name in GENERATION if name.endswith("_token_id")),
        ("eos_token_id", [2, TINY.vocab_size]),
        ("bad_words_ids", [[5, TINY.vocab_size]]),
        ("sequence_bias", [[[TINY.vocab_size], 1.0]]),
    ],
)
def test_tokens_that_the_vocabulary_lacks(name: str, value: Any) -> None:
    """The first that does not exist."""
    with pytest.raises(CheckpointError, match=f"{name} is 1600, and the vocabulary ends at 1599"):
        native(**{name: value})
