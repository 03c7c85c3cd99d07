"""The geometry and the generation settings are read from config and tensors (docs/florence2.md#configuration)."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.compile.checkpoint import sizes
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import CheckpointError
from tests.support.checkpoints import GENERATION, TINY, microsoft_config, preprocessor_config, random_model

if TYPE_CHECKING:
    from f2edge.compile.checkpoint.names import Layout

VISION = ("vision_config",)
TEXT = ("text_config",)
SHAPES = {name: tuple(tensor.shape) for name, tensor in random_model(TINY).state_dict().items()}
PROCESSOR = preprocessor_config(TINY)


def config(**changes: Any) -> dict[str, Any]:
    """Return Microsoft's config of the tiny model with other values in either section."""
    data: dict[str, Any] = json.loads(json.dumps(microsoft_config(TINY)))
    for name, value in changes.items():
        section = data["vision_config" if name in data["vision_config"] or "image" in name else "text_config"]
        section[name] = value
    return data


def without(name: str) -> dict[str, Any]:
    """Return Microsoft's config without one value."""
    data = config()
    for section in ("vision_config", "text_config"):
        data[section].pop(name, None)
    return data


def test_the_geometry_of_the_tiny_checkpoint() -> None:
    """The geometry equals the one that was written."""
    assert sizes.geometry(SHAPES, config(), PROCESSOR) == TINY


def test_transformers_names_of_the_same_things() -> None:
    """The name ``embed_dim`` of transformers is read like Microsoft's ``dim_embed``."""
    data = config()
    data["vision_config"]["embed_dim"] = data["vision_config"].pop("dim_embed")
    assert sizes.geometry(SHAPES, data, PROCESSOR) == TINY


def test_table_sizes_come_from_the_tensors() -> None:
    """Vocabulary and positions of the config are often wrong, and never used (docs/florence2.md#table-sizes)."""
    wrong = config(vocab_size=51289, max_position_embeddings=1024)
    wrong["vision_config"]["image_pos_embed"] = {"max_pos_embeddings": 50}
    wrong["vision_config"]["visual_temporal_embedding"] = {"max_temporal_embeddings": 100}
    assert sizes.geometry(SHAPES, wrong, PROCESSOR) == TINY


NULLABLE = ("dim_embed", "depths", "d_model", "encoder_layers", "decoder_ffn_dim", "vocab_size")


@pytest.mark.parametrize("name", [*NULLABLE, "max_position_embeddings", "image_feature_source", "activation_function"])
def test_null_is_as_good_as_absent(name: str) -> None:
    """A value that follows from tensors or architecture may be null or absent in the config."""
    assert sizes.geometry(SHAPES, config(**{name: None}), PROCESSOR) == TINY
    assert sizes.geometry(SHAPES, without(name), PROCESSOR) == TINY


PATCHES = ("patch_size", "patch_stride", "patch_padding", "patch_prenorm")
NEEDED = ("encoder_attention_heads", "decoder_attention_heads", "num_heads", "num_groups", "window_size", *PATCHES)


@pytest.mark.parametrize("name", NEEDED)
def test_values_that_no_tensor_gives_are_required(name: str) -> None:
    """If such a value is absent or null, the error names it."""
    for data in (without(name), config(**{name: None})):
        with pytest.raises(CheckpointError, match=rf"config.json lacks {name}\b"):
            sizes.geometry(SHAPES, data, PROCESSOR)


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize(
    "value", ["x", 0, -2, 2.5, True, {}, [], [1], [4, 4, 4, "4"], [4, 4, 4, None], [0, 0, 0, -1], {"a": 1}]
)
def test_wrong_types_and_numbers_are_named(name: str, value: Any) -> None:
    """Any wrong value gives a CheckpointError that names it."""
    with pytest.raises(CheckpointError, match=rf"\b{name}\b"):
        sizes.geometry(SHAPES, config(**{name: value}), PROCESSOR)


@pytest.mark.parametrize("name", NULLABLE[:-1])
@pytest.mark.parametrize("value", ["x", 3, [1, 2], {}, [16, 32, 48, 65]])
def test_contradictions_are_named(name: str, value: Any) -> None:
    """Widths and numbers of layers that contradict the tensors are named."""
    with pytest.raises(CheckpointError, match=rf"does not fit the tensors: {name} is .*, the tensors say"):
        sizes.geometry(SHAPES, config(**{name: value}), PROCESSOR)


@pytest.mark.parametrize("strides", [[100, 2, 2, 2], [4, 2, 2, 1], [2, 2, 2, 2]])
def test_strides_of_another_model(strides: list[int]) -> None:
    """Strides are refused unless one position of the last map covers 32 pixels."""
    with pytest.raises(CheckpointError, match=r"patch_stride is \[.*the product must be 32"):
        sizes.geometry(SHAPES, config(patch_stride=strides), PROCESSOR)


def test_paddings_of_another_model() -> None:
    """No tensor gives the paddings, but the size of the map that they lead to is checked."""
    geometry = sizes.geometry(SHAPES, config(patch_padding=[3, 1, 1, 9]), PROCESSOR)
    with pytest.raises(CheckpointError, match="patch_padding do not make a map of 32 pixels"):
        sizes.check_image_size(geometry)


def test_all_contradictions_stand_in_one_line() -> None:
    """One message names wrong widths, layers, heads and unsupported features."""
    data = config(d_model=768, encoder_layers=6, dim_embed=[128, 256, 512, 1024], num_heads=[3, 2, 3, 4])
    data["text_config"] |= {
        "scale_embedding": True,
        "activation_function": "relu",
        "decoder_attention_heads": 7,
    }
    data["vision_config"]["image_feature_source"] = ["spatial_avg_pool"]
    with pytest.raises(CheckpointError) as error:
        sizes.geometry(SHAPES, data, PROCESSOR)
    faults = ("d_model", "encoder_layers", "dim_embed", "num_heads 3", "decoder_attention_heads 7")
    for fault in (*faults, "scale_embedding", "activation relu", "image_feature_source"):
        assert fault in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["vision_config", "text_config"])
def test_a_missing_section(name: str) -> None:
    """A section that is absent, null or not an object is named."""
    values: tuple[Any, ...] = (None, [], "x", ...)
    for value in values:
        data = config()
        data[name] = value
        if value is ...:
            del data[name]
        with pytest.raises(CheckpointError, match=f"config.json has no {name}"):
            sizes.geometry(SHAPES, data, PROCESSOR)


def test_position_tables_without_positions() -> None:
    """BART's tables start with two unused rows; a table with no more rows is refused."""
    for name in ("encoder.embed_positions.weight", "decoder.embed_positions.weight"):
        with pytest.raises(CheckpointError, match=name):
            sizes.geometry({**SHAPES, name: (2, 64)}, config(), PROCESSOR)


@pytest.mark.parametrize(
    ("processor", "expected"),
    [
        ({}, (768, 768)),
        ({"size": None, "image_mean": None, "image_std": None}, (768, 768)),
        ({"size": {"height": 64, "width": 96}}, (64, 96)),
        ({"size": {"height": None, "width": None}}, (768, 768)),
        ({"size": 64}, (64, 64)),
        ({"size": {"height": 0, "width": 96}}, (0, 96)),  # refused when the size is checked
        ({"size": 0}, (0, 0)),
    ],
)
def test_the_processors_image_size(processor: dict[str, Any], expected: tuple[int, int]) -> None:
    """Height comes before width; absent values default to 768x768 and ImageNet's mean and deviation."""
    geometry = sizes.geometry(SHAPES, config(), processor)
    assert geometry == replace(TINY, image_size=expected)


@pytest.mark.parametrize(
    ("processor", "named"),
    [
        ({"size": {"shortest_edge": 224}}, "size"),
        ({"size": {"height": "768", "width": 768}}, "size"),
        ({"size": [768, 768]}, "size"),
        ({"size": []}, "size"),
        ({"size": True}, "size"),
        ({"image_mean": [0.5, math.inf, 0.5]}, "image_mean"),
        ({"image_std": [0.5, math.inf, 0.5]}, "image_std"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"image_mean": 0.5}, "image_mean"),
        ({"image_std": [0.5, 0.5, "0.5"]}, "image_std"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std"),
        ({"image_std": [0.5, 0.5, math.nan]}, "image_std"),
    ],
)
def test_a_processor_that_makes_no_sense(processor: dict[str, Any], named: str) -> None:
    """A wrong value is named in an error instead of giving wrong pixels."""
    with pytest.raises(CheckpointError, match=rf"image processor.*{named}"):
        sizes.geometry(SHAPES, config(), processor)


def test_the_message_about_a_processor_reads_as_a_sentence() -> None:
    """The parser's message about the value follows a colon."""
    with pytest.raises(CheckpointError) as caught:
        sizes.geometry(SHAPES, config(), {"image_mean": 0.5})
    assert str(caught.value) == "the image processor: image_mean is 0.5, not tuple[float, float, float]"


@pytest.mark.parametrize("size", [(32, 32), (640, 640), (32, 640), (640, 32), (96, 160), (160, 96)])
def test_sizes_that_fit(size: tuple[int, int]) -> None:
    """Multiples of 32 up to the position tables are accepted, square or not."""
    geometry = replace(TINY, image_size=size, encoder_positions=1000)
    sizes.check_image_size(geometry)
    assert geometry.feature_map == (size[0] // 32, size[1] // 32)
    assert geometry.num_image_tokens == size[0] // 32 * (size[1] // 32) + 1
    assert geometry.max_prompt_tokens == 1000 - geometry.num_image_tokens


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((100, 96), "100x96: both sides must be positive multiples of 32"),
        ((96, 0), "positive multiples"),
        ((-32, 96), "positive multiples"),
        ((672, 96), "672x96 is over what this checkpoint's tables allow: 640"),
        ((96, 672), "96x672 is over"),
        ((512, 512), "leaves no room for a prompt"),
    ],
)
def test_sizes_that_do_not_fit(size: tuple[int, int], message: str) -> None:
    """Each reason is named; 512x512 pixels give 257 tokens, and the tiny model has 96 positions."""
    with pytest.raises(CheckpointError, match=message):
        sizes.check_image_size(replace(TINY, image_size=size))


def settings(layout: Layout, text: dict[str, Any], generation: dict[str, Any]) -> GenerationSettings:
    """Return the generation settings from both places."""
    data = config()
    data["text_config"] = text
    return sizes.generation_settings(layout, data, generation, TINY)


def test_microsofts_settings_are_in_the_text_config() -> None:
    """generation_config.json is ignored, as Microsoft's ``generate`` ignores it."""
    loaded = settings("microsoft", {**GENERATION, "num_beams": 4, "length_penalty": 0.5}, {"num_beams": 7})
    assert loaded == GenerationSettings(num_beams=4, length_penalty=0.5, max_new_tokens=TINY.decoder_positions)


def test_transformers_settings_are_in_the_generation_config() -> None:
    """In transformers' layout, the text config is ignored."""
    loaded = settings("transformers", {"num_beams": 7}, {**GENERATION, "early_stopping": "never"})
    assert loaded == GenerationSettings(early_stopping="never", max_new_tokens=TINY.decoder_positions)


@pytest.mark.parametrize("layout", ["microsoft", "transformers"])
def test_absent_settings_default_to_florences(layout: Layout) -> None:
    """Absent settings have the published models' values."""
    assert settings(layout, {}, {}) == GenerationSettings(max_new_tokens=TINY.decoder_positions)


def test_null_means_not_forced_or_the_default() -> None:
    """Null switches a forced token off; for other settings it means the default, as in transformers."""
    loaded = settings("transformers", {}, dict.fromkeys(GENERATION))
    expected = GenerationSettings(max_new_tokens=TINY.decoder_positions)
    assert loaded == replace(expected, forced_bos_token_id=None, forced_eos_token_id=None)


def test_a_list_of_one_end_token_is_that_token() -> None:
    """Checkpoints write the end token as a number or as a list of one."""
    assert settings("transformers", {}, {"eos_token_id": [2]}).eos_token_id == 2


@pytest.mark.parametrize("name", [*GENERATION, "length_penalty"])
@pytest.mark.parametrize("value", ["x", -1, 2.5, {}, [1, 2], []])
def test_settings_that_no_search_can_follow(name: str, value: Any) -> None:
    """A wrong setting is named in one line; a length penalty may be negative or fractional."""
    if name == "length_penalty" and isinstance(value, (int, float)):
        assert settings("transformers", {}, {name: value}).length_penalty == value
        return
    with pytest.raises(CheckpointError, match=name):
        settings("transformers", {}, {name: value})


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


@pytest.mark.parametrize("name", [name for name in GENERATION if name.endswith("_token_id")])
def test_tokens_that_the_vocabulary_lacks(name: str) -> None:
    """The first token id beyond the vocabulary is refused."""
    with pytest.raises(CheckpointError, match=f"{name} is 1600, and the vocabulary ends at 1599"):
        settings("transformers", {}, {name: TINY.vocab_size})


@pytest.mark.parametrize(("name", "value"), [("num_beams", 65), ("length_penalty", math.inf)])
def test_settings_beyond_the_limits(name: str, value: float) -> None:
    """Settings beyond f2edge's limits are reported as a fault of the checkpoint."""
    with pytest.raises(CheckpointError, match=name):
        settings("transformers", {}, {name: value})


def test_the_config_is_left_alone() -> None:
    """Reading sizes and settings does not change the config."""
    data = config()
    before = copy.deepcopy(data)
    sizes.geometry(SHAPES, data, PROCESSOR)
    sizes.generation_settings("microsoft", data, {}, TINY)
    assert data == before
