"""Read the image processor of a checkpoint as transformers 5.23 reads it; what f2edge cannot follow is refused.

The defaults are those of transformers' ``CLIPImageProcessor`` (docs/florence2.md#image-processor).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from f2edge.errors import CheckpointError
from f2edge.processing import BICUBIC, FILTERS, ImageProcessing

if TYPE_CHECKING:
    from collections.abc import Callable

PREPROCESSOR_CONFIG = "preprocessor_config.json"

Section = Mapping[str, Any]
Colours = tuple[float, float, float]

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_CLIP_SIDE = 224
_TYPES = ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil")
_COLOURS = 3


@dataclass(frozen=True)
class Processor:
    """An image processor.

    Args:
        image_size: the (height, width) in pixels that pictures come out in.
        image_mean: the mean of each colour.
        image_std: the standard deviation of each colour.
        processing: how pictures are resized, cut and scaled.
    """

    image_size: tuple[int, int]
    image_mean: Colours
    image_std: Colours
    processing: ImageProcessing


def read_processor(config: Section, image_size: int | None = None) -> Processor:
    """Return what an image processor does.

    Args:
        config: the content of ``preprocessor_config.json``.
        image_size: the side of the square input in pixels that was asked for, in place of the processor's size.

    Raises:
        CheckpointError: a value is of a wrong kind, or pictures do not come out in one size.
    """
    kind = config.get("image_processor_type") or _TYPES[0]
    if kind not in _TYPES:
        raise _error("image_processor_type", kind, f"f2edge computes what {_TYPES[0]} does")
    for name in ("do_convert_rgb", "default_to_square", "use_square_size"):
        _flag(config, name, default=False)
    processing = _processing(config)
    sized = _sized(config, processing) if image_size is None else _sized_by_user(config, processing, image_size)
    size, processing = sized
    if faults := processing.faults(size):
        raise CheckpointError(f"the image processor ({PREPROCESSOR_CONFIG}): {'; '.join(faults)}")
    _refuse_padding(config, size)
    used = config if processing.do_normalize else {}
    mean, std = _colours(used, "image_mean", _CLIP_MEAN), _colours(used, "image_std", _CLIP_STD)
    if any(value <= 0 for value in std):
        raise _error("image_std", config["image_std"], "pixels are divided by it")
    return Processor(size, mean, std, processing)


def silent_crop(config: Section, image_size: int | None = None) -> str | None:
    """Return one line for the user about a file that leaves the cutting of pictures open; None if it does not."""
    if "do_center_crop" in config or _crops_by_default(config) or image_size is not None:
        return None
    height, width = _sized(config, _processing(config))[0]
    if (height, width) == (_CLIP_SIDE, _CLIP_SIDE):
        return None
    return (
        f"{PREPROCESSOR_CONFIG} does not say do_center_crop, and transformers would cut pictures of "
        f"{height}x{width} pixels to {_CLIP_SIDE}x{_CLIP_SIDE}; f2edge does not"
    )


def _processing(config: Section) -> ImageProcessing:
    """Return all but the sizes."""
    resample = config.get("resample", BICUBIC)
    if type(resample) is not int or resample not in FILTERS:
        raise _error("resample", resample, f"it must be one of Pillow's filters, 0 to {FILTERS[-1]}")
    return ImageProcessing(
        resample=resample,
        do_resize=_flag(config, "do_resize", default=True),
        do_center_crop=_flag(config, "do_center_crop", default=_crops_by_default(config)),
        rescale_factor=_factor(config) if _flag(config, "do_rescale", default=True) else None,
        do_normalize=_flag(config, "do_normalize", default=True),
    )


def _factor(config: Section) -> float:
    factor = config.get("rescale_factor", 1 / 255)
    if not _is_number(factor):
        raise _error("rescale_factor", factor, "it must be a number")
    return float(factor)


def _sized_by_user(config: Section, processing: ImageProcessing, side: int) -> tuple[tuple[int, int], ImageProcessing]:
    """Return a square size and the processing that resizes to it, where nothing is cut."""
    if processing.do_center_crop and _sized(config, processing)[1].do_center_crop:
        raise CheckpointError(
            f"`image_size` {side} does not go with {PREPROCESSOR_CONFIG}: do_center_crop true; "
            "set the sizes that it resizes and cuts to there"
        )
    return (side, side), replace(processing, do_resize=True, do_center_crop=False)


def _sized(config: Section, processing: ImageProcessing) -> tuple[tuple[int, int], ImageProcessing]:
    """Return the size that pictures come out in, and the processing with the sizes that lead there."""
    if processing.do_resize:
        processing = replace(processing, **_resizing(config))
    fixed = processing.resize_to
    if not processing.do_center_crop:
        if fixed is None:
            field = "size" if processing.do_resize else "do_resize"
            raise _error(
                field,
                config.get(field),
                "pictures of any size cannot enter a compiled graph: give size a height and a width, or `image_size`",
            )
        return fixed, replace(processing, resize_to=None)
    crop = _crop_size(config)
    if fixed == crop:
        return crop, replace(processing, resize_to=None, do_center_crop=False)
    return crop, processing


def _resizing(config: Section) -> dict[str, Any]:
    """Return the field of ImageProcessing that ``size`` sets, with its value."""
    if _flag(config, "use_square_size", default=False):
        return {"resize_to": (_CLIP_SIDE, _CLIP_SIDE)}
    size = config.get("size", {"shortest_edge": _CLIP_SIDE})
    if type(size) is int:
        square = _flag(config, "default_to_square", default=False)
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    size = _from_pair(size)
    fields = _FORMS.get(frozenset(size)) if isinstance(size, Mapping) else None
    if fields is None or any(type(side) is not int for side in size.values()):
        raise _error("size", config.get("size"), "it must have a height and a width, or a shortest_edge")
    return fields(size)


_FORMS: dict[frozenset[str], Callable[[Mapping[str, int]], dict[str, Any]]] = {
    frozenset({"height", "width"}): lambda size: {"resize_to": (size["height"], size["width"])},
    frozenset({"shortest_edge"}): dict,
    frozenset({"shortest_edge", "longest_edge"}): dict,
    frozenset({"max_height", "max_width"}): lambda size: {"largest": (size["max_height"], size["max_width"])},
}
"""What transformers' resizing takes."""


def _crop_size(config: Section, name: str = "crop_size") -> tuple[int, int]:
    size = config.get(name, _CLIP_SIDE)
    if type(size) is int:
        size = {"height": size, "width": size}
    size = _from_pair(size)
    known = isinstance(size, Mapping) and size.keys() == {"height", "width"}
    if not known or any(type(side) is not int for side in size.values()):
        raise _error(name, config.get(name), "it must have a height and a width")
    return size["height"], size["width"]


def _from_pair(size: Any) -> Any:
    """Turn a list of two, height before width, into the object that it stands for."""
    pair = isinstance(size, (list, tuple)) and len(size) == 2  # noqa: PLR2004 - height and width
    return {"height": size[0], "width": size[1]} if pair else size


def _refuse_padding(config: Section, size: tuple[int, int]) -> None:
    """Refuse zeros around a normalised picture; none are added if there is no larger size."""
    pads = _flag(config, "do_pad", default=False) and config.get("pad_size") is not None
    if pads and _crop_size(config, "pad_size") != size:
        raise _error("pad_size", config["pad_size"], "f2edge adds no border; set do_pad to false")


def _crops_by_default(config: Section) -> bool:
    """Tell whether pictures are cut if nothing says so: transformers does, and published files say that it must not.

    To cut to a size that nobody has named what was resized to a size that somebody has can only be a mistake.
    """
    return config.get("crop_size") is not None or not _is_exact(config)


def _is_exact(config: Section) -> bool:
    size = _from_pair(config.get("size"))
    return isinstance(size, Mapping) and set(size) == {"height", "width"}


def _colours(config: Section, name: str, default: Colours) -> Colours:
    """Return a number for each of three colours; one number is for all of them."""
    value = config.get(name, default)
    values = [value] * _COLOURS if _is_number(value) else value
    if not isinstance(values, (list, tuple)) or len(values) != _COLOURS or not all(map(_is_number, values)):
        raise _error(name, value, "it must be three finite numbers, or one")
    red, green, blue = map(float, values)
    return red, green, blue


def _flag(config: Section, name: str, *, default: bool) -> bool:
    """Return a switch; null switches off, as in transformers."""
    value = config.get(name, default)
    if value is not None and type(value) is not bool:
        raise _error(name, value, "it must be true or false")
    return bool(value)


def _is_number(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def _error(name: str, value: Any, reason: str) -> CheckpointError:
    return CheckpointError(f"the image processor ({PREPROCESSOR_CONFIG}): {name} is {json.dumps(value):.60}; {reason}")
