"""The room on disk that a compilation needs, checked before anything is written."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from f2edge.calibration.questions import PROMPTS_PER_PICTURE
from f2edge.calibration.recorder import DECODER_PICTURES, DECODER_STEPS
from f2edge.errors import CompileError

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.compile.context import BuildContext
    from f2edge.geometry import Geometry

_GB = 1e9
_FP32 = 4
_BYTES = {"fp32": _FP32, "fp16": 2, "int8": 1}
"""Bytes of a weight in a bundle."""
_SMALL = 0.1 * _GB
"""Bytes for everything that does not depend on the model."""
_COPIES = 2
"""How often the weights of a bundle are there while it is written: OpenVINO writes a file of each graph first.  INT8
graphs are there as pieces and as a whole, too.  docs/compile.md has a measurement of all."""


def check_room(context: BuildContext, place: Path) -> None:
    """Stop a compilation whose checkpoint is loaded if the disk has no room for it.

    Args:
        context: the compilation.
        place: the directory of its stages.

    Raises:
        CompileError: there is less room than it needs.
    """
    model = context.checkpoint.model
    traced = model.vision_tower if context.maps else model
    parameters = sum(weight.numel() for weight in traced.parameters())
    width = max(_BYTES[precision] for precision in context.options.precisions.values())
    pictures = len(context.selection.samples) if context.selection else 0
    needed = needed_space(parameters, model.geometry, bytes_per_weight=width, pictures=pictures)
    check_space(needed, place, pictures)


def needed_space(parameters: int, geometry: Geometry, *, bytes_per_weight: int, pictures: int) -> float:
    """Return the room on disk that a compilation takes at most, in bytes.

    Args:
        parameters: the number of weights.
        geometry: the sizes of the model.
        bytes_per_weight: of the bundle: 4 for fp32, 2 for fp16, 1 for INT8.
        pictures: the number of pictures that INT8 is calibrated on.
    """
    exported, written = _FP32 * parameters, _COPIES * bytes_per_weight * parameters
    quantized = _COPIES * parameters if bytes_per_weight == 1 else 0
    return _SMALL + exported + quantized + written + _recorded(geometry, pictures)


def _recorded(geometry: Geometry, pictures: int) -> float:
    """Return the bytes of the recorded inputs, and of the largest map that goes from piece to piece of the tower."""
    height, width = geometry.image_size
    stride = geometry.vision.patch_stride[0]
    states = _FP32 * geometry.num_image_tokens * geometry.d_model
    largest_map = _FP32 * (height // stride) * (width // stride) * geometry.vision.embed_dim[0]
    key_values = 2 * geometry.decoder_layers * states
    each = 3 * height * width + PROMPTS_PER_PICTURE * states + largest_map
    return pictures * each + min(pictures, DECODER_PICTURES) * DECODER_STEPS * key_values


def check_space(needed: float, place: Path, pictures: int) -> None:
    """Stop a compilation that the disk has no room for.

    Args:
        needed: bytes.
        place: a directory on the disk; it need not be there yet.
        pictures: the number of pictures that INT8 is calibrated on, of which there could be fewer.

    Raises:
        CompileError: there is less room.
    """
    there = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        fewer = ", or calibrate on fewer pictures" if pictures > 1 else ""
        raise CompileError(
            f"the compilation needs about {needed / _GB:.1f} GB of disk space, and {there} has {free / _GB:.1f} GB: "
            f"make room there{fewer}"
        )
