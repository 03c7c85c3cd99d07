"""The generation settings are those of the checkpoint; a checkpoint whose settings are not supported is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.compile.checkpoint.generation import generation_settings, unused_settings
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
"""The settings that transformers uses if the checkpoint has none."""


def settings(layout: Layout, text: dict[str, Any], generation: dict[str, Any] | None, **top: Any) -> GenerationSettings:
    """Return the defaults of the search; ``top`` are fields of ``config.json`` itself."""
    return generation_settings(layout, {"text_config": text, **top}, generation, TINY)


def native(**generation: Any) -> GenerationSettings:
    """Return the defaults of the search of a checkpoint in transformers' layout with these fields besides the usual."""
    return settings("transformers", {}, {**GENERATION, **generation})


def test_microsofts_settings_are_in_the_text_config() -> None:
    """generation_config.json is ignored, as Microsoft's ``generate`` ignores it."""
    loaded = settings("microsoft", {**GENERATION, "num_beams": 4, "length_penalty": 0.5}, {"num_beams": 7})
    assert (loaded.num_beams, loaded.length_penalty, loaded.forced_bos_token_id) == (4, 0.5, 0)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"suppress_tokens": [9], "do_sample": True, "num_beams": 7}, "do_sample, num_beams, suppress_tokens"),
        ({"num_beams": 3, "early_stopping": False, "eos_token_id": [2], "bad_words_ids": [[8]]}, ""),
        ({"do_sample": False, "transformers_version": "4.41.2", "suppress_tokens": None}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_what_microsofts_layout_says_for_nothing_is_named(said: dict[str, Any] | None, named: str) -> None:
    """Settings of generation_config.json that differ from those of the search are named; equal ones are not."""
    used = settings("microsoft", {**GENERATION, "bad_words_ids": [[8]]}, said)
    line = unused_settings("microsoft", said, used)
    assert (f"not used: {named};" in line) if line else not named
    assert unused_settings("transformers", said, used) is None


def test_transformers_settings_are_in_the_generation_config() -> None:
    """config.json is ignored if generation_config.json exists."""
    loaded = settings("transformers", {"num_beams": 7}, {**GENERATION, "early_stopping": "never"}, num_beams=8)
    assert (loaded.num_beams, loaded.early_stopping) == (3, "never")


def test_without_the_file_config_json_decides() -> None:
    """The search is greedy with the end tokens of the text config, unless config.json itself says otherwise."""
    ids = {name: GENERATION[name] for name in ("eos_token_id", "decoder_start_token_id", "forced_eos_token_id")}
    loaded = settings("transformers", {**text_config(TINY), **ids}, None)
    assert loaded == GenerationSettings(
        num_beams=1,
        max_new_tokens=TINY.decoder_positions,
        early_stopping=False,
        no_repeat_ngram_size=0,
        forced_bos_token_id=None,
    )
    above = settings("transformers", {**ids, "num_beams": 2, "min_length": 5}, None, num_beams=4, eos_token_id=[2, 5])
    assert (above.num_beams, above.min_length, above.eos_token_id) == (4, 5, (2, 5))


def test_absent_settings_default_to_transformers() -> None:
    """By default the search is greedy, and nothing is forced or banned; null means absent."""
    assert settings("transformers", {}, {"decoder_start_token_id": 2}) == SILENT
    nulls = {**dict.fromkeys([*GENERATION, "max_length", "suppress_tokens", "do_sample"]), "decoder_start_token_id": 2}
    assert settings("transformers", {}, nulls) == SILENT


def test_absent_settings_in_microsofts_layout() -> None:
    """The search is greedy, too, with the begin and end tokens of Microsoft's configuration class."""
    loaded = settings("microsoft", {}, None)
    assert (loaded.num_beams, loaded.decoder_start_token_id, loaded.eos_token_id, loaded.forced_eos_token_id) == (
        1,
        2,
        2,
        2,
    )


def test_an_answer_begins_with_the_begin_token_if_no_other_is_named() -> None:
    """If neither start nor begin token is named, the checkpoint is refused, as by transformers."""
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
    """``max_new_tokens`` comes before ``max_length``, and both are limited by the model's positions."""
    assert native(**said).max_new_tokens == longest


def test_a_maximum_that_old_configurations_carry() -> None:
    """A ``max_length`` of 20 is ignored, because transformers 4 wrote it into every text config."""
    assert settings("microsoft", {"max_length": 20}, None).max_new_tokens == 80
    assert settings("microsoft", {"max_length": 21}, None).max_new_tokens == 20


@pytest.mark.parametrize("said", [{"max_length": 1}, {"max_length": "x"}, {"max_new_tokens": 0}])
def test_a_maximum_without_an_answer(said: dict[str, Any]) -> None:
    """A limit that allows no token is refused."""
    with pytest.raises(CheckpointError, match="max_new_tokens or max_length"):
        native(**said)


def test_lists_of_tokens() -> None:
    """A list of one end token becomes that token; all other lists become tuples."""
    assert native(eos_token_id=[2]).eos_token_id == 2
    loaded = native(
        eos_token_id=[2, 5],
        suppress_tokens=[7],
        begin_suppress_tokens=[8],
        bad_words_ids=[[9], [10, 11]],
        sequence_bias=[[[9, 10], -1.5]],
        exponential_decay_length_penalty=[5, 1.1],
    )
    assert loaded.eos_token_id == (2, 5)
    assert loaded.suppress_tokens == (7,)
    assert loaded.begin_suppress_tokens == (8,)
    assert loaded.bad_words_ids == ((9,), (10, 11))
    assert loaded.sequence_bias == (((9, 10), -1.5),)
    assert loaded.exponential_decay_length_penalty == (5, 1.1)


def test_numbers() -> None:
    """Each number is read under its own name."""
    numbers = {"repetition_penalty": 1.3, "min_length": 5, "min_new_tokens": 4, "renormalize_logits": True}
    loaded = native(**numbers)
    assert {name: getattr(loaded, name) for name in numbers} == numbers


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
def test_settings_without_effect(ignored: dict[str, Any]) -> None:
    """Sampling settings without sampling, neutral values, and settings of memory and outputs are ignored."""
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
def test_unsupported_settings(name: str) -> None:
    """An unsupported setting is refused in one line with its file, field and effect, in either layout."""
    for place, read in (
        ("generation_config.json", lambda said: native(**said)),
        ("text_config", lambda said: settings("microsoft", said, None)),
    ):
        with pytest.raises(CheckpointError, match=rf"{place}: {name} ") as error:
            read({name: REFUSED[name]})
        assert len(str(error.value)) < 150


def test_sampling_is_refused_with_the_reason() -> None:
    """Sampling is the unsupported setting that checkpoints really have, so its whole message is compared."""
    with pytest.raises(CheckpointError) as error:
        native(do_sample=True, temperature=0.7)
    assert str(error.value) == (
        "generation_config.json: do_sample true draws tokens at random, and f2edge searches deterministically; "
        "remove it to search without"
    )


def test_a_forced_token_that_is_suppressed() -> None:
    """A forced token that is also suppressed is refused, as by transformers, because no token would be left."""
    with pytest.raises(CheckpointError, match="forced_bos_token_id is 0, which suppress_tokens takes away"):
        native(suppress_tokens=[0])


@pytest.mark.parametrize("name", [*GENERATION, "length_penalty"])
@pytest.mark.parametrize("value", ["x", -1, 2.5, {}, [-1, 2], []])
def test_settings_that_no_search_can_follow(name: str, value: Any) -> None:
    """A wrong setting is named in one line; a length penalty may be negative or fractional."""
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
def test_wrong_values(name: str, value: Any) -> None:
    """A wrong value is reported as a fault of the checkpoint."""
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
    """The check of a value and the check of a type give different messages; both follow a colon."""
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
    """The first token id beyond the vocabulary is refused."""
    with pytest.raises(CheckpointError, match=f"{name} is 1600, and the vocabulary ends at 1599"):
        native(**{name: value})
