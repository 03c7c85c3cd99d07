"""What becomes of a picture before the vision tower sees it: the settings of transformers' image processor."""

from __future__ import annotations

import math
from dataclasses import dataclass

FILTERS = range(6)
"""Pillow's filters by number: nearest, Lanczos, bilinear, bicubic, box, Hamming."""

BICUBIC = 3

_MAX_SIDE = 2**16


@dataclass(frozen=True)
class ImageProcessing:
    """The steps of the image processor, by default those of Florence-2 (docs/florence2.md#image-processor).

    A picture is resized, cut to the model's image size, rescaled and normalised.  At most one of the rules of size is
    set; without one the picture is resized to the image size of the model.

    Args:
        resample: Pillow's filter.
        do_resize: False leaves the picture as large as it is.
        resize_to: (height, width) in pixels.
        shortest_edge: the length of the shorter side; the aspect ratio is kept.
        longest_edge: the most that the longer side may have, with ``shortest_edge``.
        largest: (height, width) that the picture fits into; the aspect ratio is kept.
        do_center_crop: cut the middle out, and put black around what is too small.
        rescale_factor: what the levels 0 to 255 are multiplied by; None if they are not.
        do_normalize: subtract the mean, and divide by the standard deviation.
    """

    resample: int = BICUBIC
    do_resize: bool = True
    resize_to: tuple[int, int] | None = None
    shortest_edge: int | None = None
    longest_edge: int | None = None
    largest: tuple[int, int] | None = None
    do_center_crop: bool = False
    rescale_factor: float | None = 1 / 255
    do_normalize: bool = True

    def resized(self, size: tuple[int, int], image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that a picture of ``size`` is resized to, as transformers computes it."""
        if not self.do_resize:
            return size
        if self.shortest_edge and self.longest_edge:
            return _between(size, self.shortest_edge, self.longest_edge)
        if self.shortest_edge:
            return _by_shorter_side(size, self.shortest_edge)
        if self.largest:
            return _into(size, self.largest)
        return self.resize_to or image_size

    def faults(self, image_size: tuple[int, int]) -> list[str]:
        """List what makes no sense for a model of this image size, each as a short sentence."""
        faults = []
        if self.resample not in FILTERS:
            faults.append(f"resample is {self.resample}; Pillow's filters are 0 to {FILTERS[-1]}")
        if self.rescale_factor is not None and not math.isfinite(self.rescale_factor):
            faults.append(f"rescale_factor is {self.rescale_factor}; it must be finite")
        sides = [*(self.resize_to or ()), *(self.largest or ())]
        sides += [side for side in (self.shortest_edge, self.longest_edge) if side is not None]
        if any(not 0 < side <= _MAX_SIDE for side in sides):
            faults.append(f"the size is {sides}; sides must be 1 to {_MAX_SIDE} pixels")
        if not self.do_center_crop and (field := self._free_size(image_size)):
            value = getattr(self, field)
            faults.append(f"{field} is {value} without do_center_crop; pictures have to come out in one size")
        return faults

    def _free_size(self, image_size: tuple[int, int]) -> str | None:
        """Return the field by which pictures come out in another size than the model's, if they are not cut."""
        if not self.do_resize:
            return "do_resize"
        if self.shortest_edge is not None or self.largest is not None:
            return "shortest_edge" if self.shortest_edge is not None else "largest"
        return "resize_to" if self.resize_to not in (None, image_size) else None


def _by_shorter_side(size: tuple[int, int], shorter: int) -> tuple[int, int]:
    height, width = size
    longer = int(shorter * max(size) / min(size))
    return (longer, shorter) if width <= height else (shorter, longer)


def _between(size: tuple[int, int], shortest: int, longest: int) -> tuple[int, int]:
    """Scale the shorter side to ``shortest``, unless the longer one then were above ``longest``."""
    height, width = size
    shorter, longer = float(min(size)), float(max(size))
    exact: float = shortest
    if longer / shorter * shortest > longest:
        exact = longest * shorter / longer
        shortest = round(exact)
    if shortest == min(size):
        return size
    return (int(exact * height / width), shortest) if width < height else (shortest, int(exact * width / height))


def _into(size: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    scale = min(largest[0] / height, largest[1] / width)
    return int(height * scale), int(width * scale)
