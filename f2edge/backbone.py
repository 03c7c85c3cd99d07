"""A backbone on an edge device: pictures in, the feature maps of DaViT's stages out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.bundle.manifest import Bundle, open_graph
from f2edge.errors import DeviceError, InputError
from f2edge.geometry import STRIDE
from f2edge.image import load_image, model_pixels, pixel_values
from f2edge.processing import ImageProcessing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Any

    from numpy.typing import NDArray
    from PIL import Image

    from f2edge.arrays import FloatArray
    from f2edge.bundle.levels import FeatureMaps
    from f2edge.engine import BackboneRuntime
    from f2edge.geometry import Geometry
    from f2edge.image import ImageSource

_BATCH_AXES = 4


def load_backbone(path: str | PathLike[str], device: str | None = None, *, threads: int | None = None) -> Backbone:
    """Open a backbone bundle on a device.

    Example:
        >>> with f2edge.load_backbone("florence-2-base.backbone") as backbone:
        ...     maps = backbone.features("street.jpg")

    Args:
        path: the directory of a bundle that was compiled with ``--graph backbone``.
        device: the name that the engine gives a device ("CPU", "GPU", "CUDA", ...); by default the device that the
            bundle was compiled for.
        threads: CPU threads to compute with; by default the engine chooses.

    Raises:
        BundleError: the bundle is damaged or of another version, or it gives answers.
        DeviceError: the device is not there, or cannot load the graph.
    """
    from f2edge.runtimes import open_backbone  # noqa: PLC0415 - core meets engines here and in f2edge.load

    bundle = open_graph(path, "backbone")
    return Backbone(bundle, open_backbone(bundle, device, threads))


class Backbone:
    """A backbone bundle opened on a device; made by :func:`f2edge.load_backbone`.

    Any thread may ask.  As a context manager it closes itself.
    """

    def __init__(self, bundle: Bundle, runtime: BackboneRuntime) -> None:
        self.bundle = bundle
        self._runtime: BackboneRuntime | None = runtime

    @property
    def runtime(self) -> BackboneRuntime:
        """The engine.

        Raises:
            DeviceError: the backbone is closed.
        """
        if self._runtime is None:
            raise DeviceError("this backbone is closed; open its bundle again with f2edge.load_backbone")
        return self._runtime

    @property
    def levels(self) -> FeatureMaps:
        """The names, strides and channels of the maps, as timm's ``feature_info`` has them."""
        assert self.bundle.backbone
        return self.bundle.backbone

    def close(self) -> None:
        """Release the engine and its memory; closing again does nothing."""
        self._runtime = None

    def __enter__(self) -> Backbone:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def features(self, picture: ImageSource | FloatArray) -> dict[str, FloatArray]:
        """Compute the feature maps of a picture.

        A picture is normalised as the model was trained, at its own size: each side is resized to the nearest multiple
        of 32 pixels, and is at least 32.  A bundle of a fixed size resizes every picture to that.  Positions of a map
        therefore belong to the resized picture; :meth:`pixels` tells its size.

        Args:
            picture: anything that :meth:`f2edge.Florence2.run` takes for an image; or pixels that are prepared already,
                an array of floats (N, 3, H, W), whose sides are multiples of 32, and which goes to the graph as it is,
                one of N after the other.

        Returns:
            The map of each level by its name ("c2", ...), the finest first; each is (N, C, H / stride, W / stride)
            float32, with N = 1 for a picture.

        Raises:
            ImageError: the picture cannot be opened.
            InputError: an array of another shape or type, of a size that the graph does not take, or with values that
                are not finite.
            DeviceError: the engine failed, or the backbone is closed.
        """
        return self.maps(self.pixels(picture))

    def pixels(self, picture: ImageSource | FloatArray) -> FloatArray:
        """Prepare a picture as pixels (N, 3, H, W) float32 of a size that the graph takes.

        Args:
            picture: as for :meth:`features`.

        Raises:
            ImageError, InputError: as for :meth:`features`.
        """
        if isinstance(picture, np.ndarray) and (picture.ndim == _BATCH_AXES or picture.dtype.kind == "f"):
            return _prepared(picture, self.levels)
        image = load_image(picture)  # type: ignore[arg-type] # floats, which are no picture, are prepared
        return normalised(image, self.bundle.geometry, self.levels.image_size)

    def maps(self, prepared: FloatArray) -> dict[str, FloatArray]:
        """Compute the maps of what :meth:`pixels` returned.

        Args:
            prepared: (N, 3, H, W) float32.

        Raises:
            DeviceError: the engine failed, or the backbone is closed.
        """
        each = [self.runtime.maps(prepared[index : index + 1]) for index in range(len(prepared))]
        return each[0] if len(each) == 1 else _together(each, self.levels)


def normalised(image: Image.Image, geometry: Geometry, image_size: tuple[int, int] | None) -> FloatArray:
    """Return the pixels of an RGB picture: (1, 3, H, W) float32.

    Args:
        image: the picture.
        geometry: how the model wants them.
        image_size: (height, width) that the graph is made for; None for the nearest multiples of 32 to the picture's.
    """
    if image_size:
        return model_pixels(image, geometry)
    size = (nearest_side(image.height), nearest_side(image.width))
    steps = ImageProcessing(  # the same levels and filter; how large a picture should be, or which part, does not count
        resample=geometry.image_processing.resample,
        rescale_factor=geometry.image_processing.rescale_factor,
        do_normalize=geometry.image_processing.do_normalize,
    )
    return pixel_values(image, size, geometry.image_mean, geometry.image_std, steps)


def nearest_side(pixels: int) -> int:
    """Return the multiple of 32 nearest to a side, the larger of two that are equally near; at least 32."""
    return max(STRIDE, (pixels + STRIDE // 2) // STRIDE * STRIDE)


def _prepared(array: NDArray[Any], levels: FeatureMaps) -> FloatArray:
    """Check pixels that are prepared already.

    Raises:
        InputError: they are none that the graph takes.
    """
    shape = array.shape
    if array.dtype.kind != "f" or array.ndim != _BATCH_AXES or shape[1] != 3 or 0 in shape:  # noqa: PLR2004 - red, green, blue
        raise InputError(
            f"an array of shape {shape} and type {array.dtype} is no picture and no prepared pixels: "
            "give uint8 of shape (H, W, 3), or floats of shape (N, 3, H, W)"
        )
    if levels.image_size and shape[2:] != levels.image_size:
        raise InputError(f"pixels of {shape[2]}x{shape[3]}: this bundle takes {'x'.join(map(str, levels.image_size))}")
    if shape[2] % STRIDE or shape[3] % STRIDE:
        raise InputError(f"pixels of {shape[2]}x{shape[3]}: both sides must be multiples of {STRIDE}; pad or resize")
    if not np.isfinite(array).all():
        raise InputError("the prepared pixels hold values that are not finite; see how they were made")
    return np.ascontiguousarray(array, np.float32)


def _together(each: list[dict[str, FloatArray]], levels: FeatureMaps) -> dict[str, FloatArray]:
    maps: Mapping[str, list[FloatArray]] = {name: [one[name] for one in each] for name in levels.names}
    return {name: np.concatenate(arrays) for name, arrays in maps.items()}
