"""Random settings of image processors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_SIDES = (32, 64, 96, 128)


def random_processor(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a ``preprocessor_config.json`` by which pictures come out in one size, sides multiples of 32."""
    crops = bool(rng.random() < 0.5)
    config = {
        "resample": int(rng.integers(6)),
        "do_center_crop": crops,
        "do_rescale": bool(rng.random() < 0.7),
        "rescale_factor": [1 / 255, 1 / 127.5, 0.01][rng.integers(3)],
        "do_normalize": [True, True, False, None][rng.integers(4)],
        "image_mean": rng.uniform(0, 1, 3).tolist(),
        "image_std": rng.uniform(0.1, 1, 3).tolist(),
        "do_convert_rgb": [True, None][rng.integers(2)],
        "size": _size(rng, free=crops),
    }
    return config | ({"crop_size": _exact(rng), "do_resize": bool(rng.random() < 0.8)} if crops else {})


def _size(rng: np.random.Generator, *, free: bool) -> Any:
    """Draw a size; ``free`` ones keep the aspect ratio of pictures, or are of any other form."""
    side = int(rng.integers(20, 150))
    forms: list[Any] = [
        _exact(rng),
        side,
        {"shortest_edge": side},
        {"shortest_edge": side, "longest_edge": int(rng.integers(side, 200))},
        {"max_height": side, "max_width": int(rng.integers(20, 150))},
        [side, int(rng.integers(20, 150))],
    ]
    return forms[rng.integers(len(forms))] if free else _exact(rng)


def _exact(rng: np.random.Generator) -> dict[str, int]:
    height, width = rng.choice(_SIDES, 2).tolist()
    return {"height": height, "width": width}
