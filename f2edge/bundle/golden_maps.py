"""Golden maps: what the float reference gives for drawn pictures, against which a backbone is checked on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from f2edge.bundle.golden import recorded_arrays
from f2edge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from f2edge.arrays import ByteArray, FloatArray, IntArray

SAMPLES = 4096
"""Values that are kept of each map."""


@dataclass(frozen=True)
class GoldenPicture:
    """A picture with values of its maps.

    Args:
        picture: (H, W, 3) uint8, of a size that the graph takes.
        places: for each level the places of the values in its flattened map (1, C, H / stride, W / stride), ascending.
        values: for each level the values there.
    """

    picture: ByteArray
    places: Mapping[str, IntArray]
    values: Mapping[str, FloatArray]

    @classmethod
    def of(cls, picture: ByteArray, maps: Mapping[str, FloatArray], rng: np.random.Generator) -> GoldenPicture:
        """Keep the values of each map at random places."""
        places = {
            name: np.sort(rng.choice(each.size, min(SAMPLES, each.size), replace=False)) for name, each in maps.items()
        }
        return cls(picture, places, {name: each.ravel()[places[name]] for name, each in maps.items()})

    def sampled(self, maps: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return the values of other maps of this picture at the same places."""
        return {name: maps[name].ravel()[places] for name, places in self.places.items()}


def save_golden_maps(pictures: Sequence[GoldenPicture], path: Path) -> None:
    """Write one ``.npz``."""
    arrays: dict[str, ByteArray | FloatArray | IntArray] = {}
    for number, golden in enumerate(pictures):
        arrays[f"picture_{number}"] = golden.picture
        for name, places in golden.places.items():
            arrays |= {f"{name}_places_{number}": places, f"{name}_values_{number}": golden.values[name]}
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def load_golden_maps(path: Path, levels: Sequence[str]) -> list[GoldenPicture]:
    """Read what :func:`save_golden_maps` wrote.

    Raises:
        BundleError: the file is damaged.
    """
    with recorded_arrays(path) as data:
        numbers = range(sum(name.startswith("picture_") for name in data.files))
        pictures = [_picture(data, number, levels) for number in numbers]
    if not pictures:
        raise BundleError(f"{path} is damaged (it has no picture); compile the bundle again")
    return pictures


def _picture(data: Mapping[str, FloatArray], number: int, levels: Sequence[str]) -> GoldenPicture:
    places = {name: data[f"{name}_places_{number}"] for name in levels}
    values = {name: data[f"{name}_values_{number}"] for name in levels}
    return GoldenPicture(data[f"picture_{number}"], places, values)  # type: ignore[arg-type]
