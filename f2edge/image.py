"""Convert pictures of any source to the input of the vision tower (docs/florence2.md#image-processor)."""

from __future__ import annotations

import io
import warnings
from contextlib import contextmanager, nullcontext, suppress
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from f2edge.errors import ImageError
from f2edge.png import is_png, pixels_only
from f2edge.processing import ImageProcessing
from f2edge.video.frame import Frame
from f2edge.video.signatures import HEAD, is_video

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from f2edge.arrays import ByteArray, FloatArray
    from f2edge.geometry import Geometry

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded: a small file can expand to gigabytes."""

_PIXELS_OF_A_BYTE = 2000
"""Pictures of one colour have up to 1,000 pixels of 8 bits for each byte of their file; photographs have 2 to 50."""

_SMALL = 10_000_000
"""Pixels of a picture that is decoded however small its file is."""

MAX_STREAM_BYTES = 2**30
"""Longest file that is read from an open file."""

ImageSource: TypeAlias = (
    "str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | NDArray[np.uint8] | Frame"
)

_IN_MEMORY = "the picture in memory"
T = TypeVar("T")

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_ARRAY_CHANNELS = (3, 4)


def load_image(source: ImageSource) -> Image.Image:
    """Open a picture as RGB.

    Transparency is composited on white; grey deeper than 8 bits is clipped to 255.  The EXIF rotation of a
    file is applied; a PIL image or an array is not rotated (docs/florence2.md#colour-conversion).  Metadata that are
    damaged or too long are ignored.

    Args:
        source: a path, the bytes of a picture file, an open binary file, a PIL image, a frame of ``f2edge.frames``, or
            an array of uint8, (height, width), (height, width, 3) in the order RGB, or (height, width, 4).  A frame of
            OpenCV is in the order BGR: give ``f2edge.from_bgr(frame)``.

    Raises:
        ImageError: the file is missing, is not a picture or is damaged, or has more than ``MAX_PIXELS``.
    """
    if isinstance(source, Frame):
        source = source.array
    if isinstance(source, np.ndarray):
        return _convert(_from_array(source), "the array")
    if isinstance(source, Image.Image):
        return _convert(source, "the picture")
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(io.BytesIO(source), _IN_MEMORY)
    if isinstance(source, (str, PathLike)):
        return _open(Path(source), str(source))
    if hasattr(source, "read"):
        return _open(_read(source), "the picture in the open file")
    raise ImageError(
        f"a {type(source).__name__} is not a picture: give a path, bytes, an open binary file, a PIL image or an array"
    )


def picture_size(content: bytes, most_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return (width, height) of a picture file in memory as its header gives them; nothing is decoded.

    The rotation that its metadata ask for is not applied.

    Raises:
        ImageError: it is not a picture, or has more than ``most_pixels``.
    """
    with _reading(_IN_MEMORY):
        return _opened(io.BytesIO(content), _IN_MEMORY, lambda file, name: _size(file, name, most_pixels))


def from_bgr(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a frame of OpenCV, whose channels are in the order blue, green, red, as a picture in RGB.

    Example:
        >>> ok, frame = cv2.VideoCapture(0).read()
        >>> model.run(f2edge.from_bgr(frame), "od")

    Args:
        frame: (height, width, 3) uint8, or (height, width, 4) with transparency last.

    Raises:
        ImageError: it is no array of this shape.
    """
    if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[2] not in _ARRAY_CHANNELS:  # noqa: PLR2004
        shape = getattr(frame, "shape", type(frame).__name__)
        raise ImageError(f"a frame has the shape (H, W, 3) or (H, W, 4), not {shape}")
    return frame[..., [2, 1, 0, *range(3, frame.shape[2])]]


def pixel_values(
    image: Image.Image,
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    processing: ImageProcessing = ImageProcessing(),  # noqa: B008 - frozen
) -> FloatArray:
    """Resize and normalise a picture as transformers does with Pillow (docs/florence2.md#image-processor).

    Args:
        image: an RGB image of any size; its aspect ratio is not kept unless ``processing`` says so.
        size: (height, width) in pixels.
        mean: the mean of each channel, for values from 0 to 1.
        std: the standard deviation of each channel.
        processing: how to resize and what else to do.

    Returns:
        (1, 3, height, width) float32.

    Raises:
        ImageError: resized, the picture would have more than ``MAX_PIXELS``, or none.
    """
    return normalise(fit(image, size, processing), mean, std, processing)


def model_pixels(image: Image.Image, geometry: Geometry) -> FloatArray:
    """Return an RGB image of any size as the input of a model: (1, 3, height, width) float32."""
    return pixel_values(image, geometry.image_size, geometry.image_mean, geometry.image_std, geometry.image_processing)


def fit(image: Image.Image, size: tuple[int, int], processing: ImageProcessing) -> ByteArray:
    """Resize an RGB image, and cut its middle out if ``processing`` says so: (height, width, 3) uint8 of ``size``."""
    height, width = processing.resized((image.height, image.width), size)
    _check_size((width, height), "the picture, resized,")
    if processing.resample != Image.Resampling.NEAREST and image.width < width and image.height > height:
        # Pillow 13 shrinks before it widens, older versions after, which differs by up to two levels.
        image = image.resize((image.width, height), processing.resample)
    pixels = np.asarray(image.resize((width, height), processing.resample))
    return _center_crop(pixels, size) if processing.do_center_crop else pixels


def normalise(
    pixels: ByteArray, mean: Sequence[float], std: Sequence[float], processing: ImageProcessing
) -> FloatArray:
    """Rescale and normalise pixels (height, width, 3) uint8 to (1, 3, height, width) float32."""
    # A channel has 256 levels only: to normalise those and look them up gives the same floats for less work.
    factor = processing.rescale_factor
    levels = (np.arange(256) * (1 if factor is None else factor)).astype(np.float32)
    values = np.empty((1, 3, *pixels.shape[:2]), np.float32)
    for channel in range(3):
        table = levels
        if processing.do_normalize:
            table = (levels - np.float32(mean[channel])) / np.float32(std[channel])
        np.take(table, pixels[..., channel], out=values[0, channel])
    return values


def _center_crop(pixels: ByteArray, size: tuple[int, int]) -> ByteArray:
    """Cut the middle out of pixels (H, W, 3), with black around what is too small."""
    for axis, side in enumerate(size):
        surplus = pixels.shape[axis] - side
        if surplus >= 0:
            pixels = np.take(pixels, range(surplus // 2, surplus // 2 + side), axis)
        else:
            black = [(0, 0)] * 3
            black[axis] = (-(surplus // 2), -surplus + surplus // 2)
            pixels = np.pad(pixels, black)
    return pixels


def _convert(image: Image.Image, name: str) -> Image.Image:
    with _reading(name):
        _check_size(image.size, name)
        return _to_rgb(image)


def _read(file: IO[bytes]) -> io.BytesIO:
    """Read an open file from its beginning, or from where it is if it cannot go back."""
    with _reading("the picture in the open file"):
        with suppress(OSError, AttributeError):  # a pipe, or an object that only reads
            file.seek(0)
        content = file.read(MAX_STREAM_BYTES + 1)
    if not isinstance(content, bytes):
        raise ImageError(f"the open file gives {type(content).__name__}, not bytes: open it in binary mode")
    if len(content) > MAX_STREAM_BYTES:
        raise ImageError(f"the picture in the open file has more than {MAX_STREAM_BYTES // 2**20} MiB: scale it down")
    return io.BytesIO(content)


def _open(file: Path | io.BytesIO, name: str) -> Image.Image:
    with _reading(name):
        return _opened(file, name, _decode)


def _opened(file: Path | io.BytesIO, name: str, read: Callable[[Path | io.BytesIO, str], T]) -> T:
    """Read a file, or only its pixels if that fails because of something else in it."""
    try:
        return read(file, name)
    except ImageError:
        raise
    except Exception:
        sound = _sound(file, name)
        if sound is None:
            raise
    return read(io.BytesIO(sound), name)


def _size(file: Path | io.BytesIO, name: str, most_pixels: int) -> tuple[int, int]:
    with Image.open(file) as image:
        _check_size(image.size, name, most_pixels)
        _check_header(image, file, name)
        return image.width, image.height


def _sound(file: Path | io.BytesIO, name: str) -> bytes | None:
    """Return what pixels need of a PNG that Pillow refuses; None if the file is no PNG, or has nothing else.

    Raises:
        ImageError: it is a video.
    """
    with file.open("rb") if isinstance(file, Path) else nullcontext(io.BytesIO(file.getbuffer())) as content:
        head = content.read(HEAD)
        if is_video(head):
            raise ImageError(f"{name} is a video, not a picture: read its frames with f2edge.frames in Python")
        return pixels_only(head + content.read()) if is_png(head) else None


def _decode(file: Path | io.BytesIO, name: str) -> Image.Image:
    with Image.open(file) as image:
        _check_size(image.size, name)
        _check_header(image, file, name)
        with suppress(Exception):  # damaged EXIF data say nothing about the pixels
            ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Silence the warnings of Pillow, and turn any exception of its decoders into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name} {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there: no such file"
    if isinstance(error, UnidentifiedImageError):
        return "is not a picture in a format that Pillow reads: convert it to PNG or JPEG"
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS // 10**6} million pixels: scale it down"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be opened: {error.strerror}"
    first_line = (str(error) or type(error).__name__).splitlines()[0]
    return f"cannot be decoded, it seems damaged ({first_line}): save or fetch it again"


def _check_size(size: tuple[int, int], name: str, most: int = MAX_PIXELS) -> None:
    width, height = size
    if width * height == 0:
        raise ImageError(f"{name} is empty: {width}x{height} pixels")
    if width * height > most:
        raise ImageError(f"{name} has {width}x{height} pixels, more than {most / 10**6:g} million: scale it down")


def _check_header(image: Image.Image, file: Path | io.BytesIO, name: str) -> None:
    """Refuse a header that claims far more pixels than the file can hold, before padding for them fills the memory."""
    pixels, content = image.width * image.height, _length(file)
    if pixels > max(_SMALL, content * _PIXELS_OF_A_BYTE):
        raise ImageError(
            f"{name} claims {image.width}x{image.height} pixels in {content} bytes, it seems damaged: "
            "save or fetch it again"
        )


def _length(file: Path | io.BytesIO) -> int:
    return file.stat().st_size if isinstance(file, Path) else file.getbuffer().nbytes


def _from_array(array: NDArray[Any]) -> Image.Image:
    grey = array.ndim == 2  # noqa: PLR2004 - height and width
    coloured = array.ndim == 3 and array.shape[2] in _ARRAY_CHANNELS  # noqa: PLR2004
    if array.dtype != np.uint8 or not (grey or coloured):
        raise ImageError(
            f"an array of shape {array.shape} and type {array.dtype} is not a picture: "
            "give uint8 of shape (H, W), (H, W, 3) or (H, W, 4)"
        )
    if array.size == 0:
        raise ImageError(f"the array is empty: shape {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        image = _clip_to_bytes(image)
    # As in transformers, a colour key in the info of an RGB picture (a PNG, or a converted palette) does not count.
    if image.mode != "RGB" and image.has_transparency_data:
        foreground = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, foreground)
    return image.convert("RGB")


def _clip_to_bytes(image: Image.Image) -> Image.Image:
    """Clip deep grey to 255, as Pillow 13 converts it; older versions differ between modes."""
    values = np.nan_to_num(np.asarray(image))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
