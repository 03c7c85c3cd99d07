"""What a server tells of its model and of the tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from f2edge import __version__
from f2edge.asking.tiles import TASKS as TILED
from f2edge.tasks.table import FREE_TEXT, TASKS, short_name

if TYPE_CHECKING:
    from f2edge.serve.service import Service

_ANSWERS = {
    "pure_text": "text",
    "boxes": "boxes",
    "grounding": "boxes",
    "polygons": "polygons",
    "boxes_or_polygons": "boxes_or_polygons",
    "ocr": "quads",
}


def describe_tasks() -> list[dict[str, str | bool]]:
    """Return the tasks: what each is called, what it takes, and what its answer is."""
    return [
        {
            "task": short_name(task.name),
            "name": task.name,
            "input": task.input,
            "answer": _ANSWERS[task.parser],
            "takes_labels": task.locates and task.labelled,
            "takes_tiles": task.name in TILED,
        }
        for task in (*TASKS.values(), FREE_TEXT)
    ]


def model_name(service: Service) -> str:
    """Return the name of the bundle, without the path to it."""
    return service.model.bundle.path.resolve().name


def describe_model(service: Service) -> dict[str, Any]:
    """Return what the model is, and what the server takes."""
    bundle, settings = service.model.bundle, service.settings
    height, width = bundle.geometry.image_size
    return {
        "name": model_name(service),
        "precision": dict(bundle.recipe.precision),
        "target": bundle.recipe.target,
        "engine": bundle.recipe.runtime,
        "device": service.model.runtime.device,
        "image_size": [width, height],
        "num_beams": bundle.generation.num_beams,
        "max_new_tokens": bundle.generation.max_new_tokens,
        "calibrated": bool(bundle.confidence),
        "calibrated_tasks": sorted(bundle.confidence),
        "workers": service.workers,
        "threads": service.model.runtime.threads,
        "limits": {
            "body_bytes": settings.body_bytes,
            "pixels": settings.pixels,
            "characters": settings.characters,
            "queue": settings.queue,
            "seconds": settings.answer_seconds,
        },
        "version": __version__,
    }
