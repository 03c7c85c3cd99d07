"""The steps of a compilation that are those of a backbone only: golden maps, pictures to calibrate on, verification."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from f2edge.backbone import Backbone, normalised
from f2edge.bundle.golden_maps import GoldenPicture, save_golden_maps
from f2edge.bundle.manifest import BACKBONE, GOLDEN
from f2edge.calibration.recorder import Records, record_pictures
from f2edge.compile.components import describe
from f2edge.compile.record_golden import draw_picture
from f2edge.compile.reference.backbone import Backbone as ReferenceBackbone
from f2edge.compile.reference.backbone import reference_maps
from f2edge.compile.steps import draft_of, finish, identity
from f2edge.geometry import STRIDE
from f2edge.image import load_image
from f2edge.runtimes import has_device, open_backbone
from f2edge.verify import verify_maps

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.compile.context import BuildContext

_RECTANGLE = (5 * STRIDE, 7 * STRIDE)
"""A second golden picture of a graph that takes any size: no square, and no multiple of a window in any stage."""


def record_maps(context: BuildContext) -> None:
    """Let the reference model compute the maps of the golden pictures; begin the bundle with them.

    Raises:
        CompileError: the tower has no such levels.
    """
    maps, model = context.maps, context.checkpoint.model
    assert maps
    reference = ReferenceBackbone(model.vision_tower, [level.index + 1 for level in maps.feature_info])
    sizes = [model.geometry.image_size, *([] if maps.image_size else [_RECTANGLE])]
    rng, pictures = np.random.default_rng(0), []
    for picture in map(draw_picture, sizes):
        pixels = normalised(load_image(picture), model.geometry, maps.image_size)
        pictures.append(GoldenPicture.of(picture, reference_maps(reference, pixels), rng))
    save_golden_maps(pictures, context.workspace.directory / GOLDEN)
    context.draft = draft_of(context, [GOLDEN])


def record_pixels(context: BuildContext) -> None:
    """Record the calibration pictures, at the image size of the checkpoint."""
    assert context.selection
    samples, geometry = context.selection.samples, context.checkpoint.model.geometry

    def make(directory: Path) -> None:
        def progress(number: int) -> None:
            context.listener.detail(f"record {number} of {len(samples)}")

        record_pictures(Records(directory, geometry), BACKBONE, samples, progress)

    inputs = {
        "size": geometry.image_size,
        "processing": asdict(geometry.image_processing),
        "samples": [identity(sample) for sample in samples],
    }
    place = context.workspace.stages.run("record backbone", inputs, make, resumes=True)
    context.records = Records(place, geometry)


def verify_backbone(context: BuildContext) -> None:
    """Compute the golden maps with the compiled graph on this machine; then write the manifest.

    Raises:
        CompileError: the graph does not compute what the reference model does.
    """
    draft = replace(context.draft, components=describe(context.plan, context.files))
    here = has_device(draft.recipe.runtime, draft.recipe.device)
    with Backbone(draft, open_backbone(draft, None if here else "CPU")) as backbone:
        finish(context, draft, verify_maps(backbone))
