"""Places in the manifest of a bundle, and values to put there."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

QUANTIZATION = {
    "blocks": [
        {"component": "vision", "name": "a", "operations": 0.5, "sqnr_db": 30.0, "divergence": 0.1, "loss": None},
        {"component": "decoder", "name": "b", "operations": 0.2, "sqnr_db": 20.0, "divergence": 0.2, "loss": 0.01},
    ],
    "budget": 0.01,
    "mixes": [
        {"int8_blocks": 2, "compute": "bf16", "milliseconds": 1.25, "loss": 0.02, "chosen": False},
        {"int8_blocks": 1, "compute": "fp32", "milliseconds": 1.5, "loss": 0.0, "chosen": True},
        {"int8_blocks": 0, "compute": "fp32", "milliseconds": 2.0, "loss": None, "chosen": False},
    ],
    "int8": [["vision", "a"]],
}
"""What ``--precision auto --report`` records."""

CALIBRATION = {
    "bias": 4.5,
    "weights": [6.0, 8.5],
    "logits": [-3.0, 0.5, 4.0],
    "confidences": [0.05, 0.625, 0.995],
    "objects": 120,
    "right": 90,
}
"""What ``f2edge calibrate`` records for a task."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield every place in a manifest; of a list, only the first two entries."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


def replaced(manifest: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a copy of a manifest with another value in one place, or with ``...`` without that place."""
    changed = copy.deepcopy(manifest)
    target: Any = changed
    for key in path[:-1]:
        target = target[key]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return changed
