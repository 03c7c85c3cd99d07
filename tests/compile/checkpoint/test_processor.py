"""Pictures come out as transformers' image processor gives them, whatever its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPImageProcessorPil

from f2edge.compile.checkpoint.processor import read_processor
from f2edge.errors import CheckpointError
from f2edge.image import pixel_values
from tests.support.processors import random_processor

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray

SIZES = ((120, 100), (40, 200), (200, 40), (96, 96), (1, 7), (333, 64))
"""Widths and heights of pictures: smaller, larger, equal, and of every shape."""


def picture(width: int, height: int) -> Image.Image:
    """Draw noise, which no two filters treat alike."""
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(noise.astype(np.uint8))


def ours(config: dict[str, Any], image: Image.Image) -> FloatArray:
    """Return f2edge's pixel values."""
    processor = read_processor(config)
    return pixel_values(image, processor.image_size, processor.image_mean, processor.image_std, processor.processing)


def theirs(config: dict[str, Any], image: Image.Image) -> FloatArray:
    """Return transformers' pixel values as the model takes them."""
    values: FloatArray = CLIPImageProcessorPil.from_dict(config)(image, return_tensors="np")["pixel_values"]
    return values.astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_settings_that_meet(seed: int) -> None:
    """Random settings at once give transformers' pixels, to the last bit."""
    config = random_processor(np.random.default_rng(seed))
    for width, height in SIZES:
        image = picture(width, height)
        np.testing.assert_array_equal(ours(config, image), theirs(config, image), err_msg=f"{width}x{height}: {config}")


EXACT = {"size": {"height": 64, "width": 96}, "do_center_crop": False}


@pytest.mark.parametrize(
    "changes",
    [
        *({"resample": number} for number in range(6)),
        {"do_rescale": False},
        {"do_rescale": None},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"rescale_factor": 2},
        {"image_mean": 0.5, "image_std": 0.25},
        {"image_mean": None, "rescale_factor": None, "do_normalize": False, "do_rescale": False},
        {"size": [96, 64]},
        {"size": 64, "default_to_square": True},
        {"use_square_size": True},
        {"do_center_crop": True},
        {"do_center_crop": True, "crop_size": 32},
        {"do_center_crop": True, "crop_size": {"height": 96, "width": 32}},
        {"do_center_crop": True, "crop_size": [33, 97]},
        {"do_center_crop": True, "do_resize": False, "crop_size": 64},
        {"do_center_crop": True, "do_resize": None, "crop_size": 64},
        {"do_center_crop": True, "size": 50, "crop_size": 64},
        {"do_center_crop": True, "size": {"shortest_edge": 70}, "crop_size": 64},
        {"do_center_crop": True, "size": {"shortest_edge": 70, "longest_edge": 90}, "crop_size": 64},
        {"do_center_crop": True, "size": {"max_height": 50, "max_width": 80}, "crop_size": 64},
        {"do_convert_rgb": True},
        {"do_convert_rgb": None},
        {"do_pad": True},
    ],
)
def test_each_setting(changes: dict[str, Any]) -> None:
    """Every form of every field, alone, on pictures of many shapes."""
    config = {**EXACT, **changes}
    for width, height in SIZES:
        image = picture(width, height)
        np.testing.assert_array_equal(ours(config, image), theirs(config, image), err_msg=f"{width}x{height}")


def test_an_empty_file_is_clips_own_processor() -> None:
    """What is absent has the value that transformers gives it."""
    image = picture(300, 250)
    np.testing.assert_array_equal(ours({}, image), theirs({}, image))
    assert ours({}, image).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"do_resize": False}, "do_resize is false; pictures of any size"),
        ({"size": 96}, "size is 96; pictures of any size"),
        ({"size": {"shortest_edge": 96}}, "size is .*pictures of any size"),
        ({"size": {"longest_edge": 96}}, "size"),
        ({"size": {"height": 96}}, "size"),
        ({"size": {"height": "96", "width": 96}}, "size"),
        ({"size": [1, 2, 3]}, "size"),
        ({"size": True}, "size"),
        ({"size": {"shortest_edge": 0}, "do_center_crop": True}, "the size is"),
        ({"crop_size": {"shortest_edge": 5}, "do_center_crop": True}, "crop_size"),
        ({"resample": 6}, "resample is 6"),
        ({"resample": None}, "resample"),
        ({"resample": "bicubic"}, "resample"),
        ({"resample": True}, "resample"),
        ({"do_rescale": 1}, "do_rescale is 1"),
        ({"do_convert_rgb": "yes"}, "do_convert_rgb"),
        ({"rescale_factor": "1/255"}, "rescale_factor"),
        ({"rescale_factor": float("inf")}, "rescale_factor"),
        ({"rescale_factor": 10**400}, "rescale_factor"),
        ({"image_mean": [0.5, 0.5]}, "image_mean"),
        ({"image_mean": [0.5, 0.5, float("nan")]}, "image_mean"),
        ({"image_std": [0.5, 0.5, 0]}, "image_std"),
        ({"image_std": "0.5"}, "image_std"),
        ({"image_std": None}, "image_std is null"),
        ({"rescale_factor": None}, "rescale_factor is null"),
        ({"size": None}, "size is null"),
        ({"crop_size": None, "do_center_crop": True}, "crop_size is null"),
        ({"do_pad": True, "pad_size": 128}, "pad_size"),
        ({"image_processor_type": "ViTImageProcessor"}, "image_processor_type is .ViTImageProcessor"),
    ],
)
def test_what_cannot_be_done_is_refused(changes: dict[str, Any], named: str) -> None:
    """One line names the file and the field."""
    with pytest.raises(CheckpointError, match=rf"image processor \(preprocessor_config\.json\): {named}") as error:
        read_processor({**EXACT, **changes})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250
