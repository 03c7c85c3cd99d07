"""The geometry and the generation settings are read from config and tensors (docs/florence2.md#configuration)."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from f2edge.compile.checkpoint import sizes
from f2edge.compile.checkpoint.generation import generation_settings
from f2edge.errors import CheckpointError
from f2edge.processing import ImageProcessing
from tests.support.checkpoints import TINY, microsoft_config, preprocessor_config, random_model

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


def test_the_image_processor_is_part_of_the_geometry() -> None:
    """Its size, its numbers and the rest of what it does; a side that was asked for replaces its size."""
    processor = {**PROCESSOR, "size": {"height": 64, "width": 96}, "image_std": 0.5, "resample": 2}
    geometry = sizes.geometry(SHAPES, config(), processor)
    expected = replace(
        TINY, image_size=(64, 96), image_std=(0.5, 0.5, 0.5), image_processing=ImageProcessing(resample=2)
    )
    assert geometry == expected
    assert sizes.geometry(SHAPES, config(), processor, 160) == replace(expected, image_size=(160, 160))


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


def test_the_config_is_left_alone() -> None:
    """Reading sizes and settings does not change the config."""
    data = config()
    before = copy.deepcopy(data)
    sizes.geometry(SHAPES, data, PROCESSOR)
    generation_settings("microsoft", data, {}, TINY)
    assert data == before
