"""Take pictures in the orientation and the size that their annotations are of."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from PIL import ExifTags, Image

from f2edge.errors import DatasetError, ImageError
from f2edge.evaluation.samples import Note
from f2edge.image import MAX_PIXELS, load_image
from f2edge.lines import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.evaluation.samples import Dataset, Question, Sample
    from f2edge.image import ImageSource

Size: TypeAlias = tuple[int, int]

_UPRIGHT = 1
_SWAPPED = (5, 6, 7, 8)  # the EXIF orientations that exchange width and height
_TOLERANCE = 0.01  # of the width or the height: annotations are rounded


def check_pictures(dataset: Dataset) -> Dataset:
    """Open every picture file, without decoding it, and leave out those that cannot be asked about.

    These are missing, are no pictures, or have another size than the data set says.  The notes of the result name them,
    and say where the orientation of a picture is in doubt.

    Raises:
        DatasetError: no picture is left.
    """
    kept, notes = [], []
    for sample in dataset.samples:
        try:
            notes += list(_remarks(sample))
            kept.append(sample)
        except ImageError as error:
            notes.append(Note("left out", "picture", sample.name, why(error, sample)))
    if dataset.samples and not kept:
        first = notes[0]
        raise DatasetError(
            f"none of the {len(notes)} pictures can be asked about; the first: {first.name} ({first.reason})"
        )
    return replace(dataset, samples=tuple(kept), notes=(*dataset.notes, *notes))


def why(error: ImageError, sample: Sample) -> str:
    """Return what an error says about a picture, without the path that it begins with."""
    return str(error).removeprefix(one_line(str(sample.image))).strip()


def as_annotated(sample: Sample) -> ImageSource:
    """Return the picture in the orientation that it is annotated in.

    The EXIF rotation of a file is applied, unless the size of the annotated picture is that of the file without it.

    Raises:
        ImageError: the file cannot be opened, or has another size than the annotated picture.
    """
    if not (isinstance(sample.image, (str, Path)) and sample.size and _reach(sample.questions)):
        return sample.image
    stored, orientation = _header(Path(sample.image))
    if sample.size == _shown(stored, orientation):
        return sample.image
    if sample.size != stored:
        raise ImageError(f"{sample.image} {_written(stored)}, its annotations are of {_written(sample.size)}")
    return _opened(io.BytesIO(Path(sample.image).read_bytes()))  # f2edge rotates files, but no pictures of Pillow


def shown_size(path: Path) -> Size | None:
    """Return (width, height) of a picture file, rotated as EXIF says; None if it cannot be opened."""
    try:
        return _shown(*_header(path))
    except ImageError:
        return None


def _remarks(sample: Sample) -> Iterator[Note]:
    """Yield what is in doubt about a picture.

    Raises:
        ImageError: the picture cannot be asked about.
    """
    if not isinstance(sample.image, (str, Path)):
        return
    stored, orientation = _header(Path(sample.image))
    shown, reach = _shown(stored, orientation), _reach(sample.questions)
    if reach is None:
        return
    if as_annotated(sample) is not sample.image:
        yield Note("did not rotate", "picture", sample.name, f"EXIF says so, but it is annotated as {_written(stored)}")
    elif orientation != _UPRIGHT and (sample.size is None or stored == shown):
        yield Note("rotated", "picture", sample.name, "as EXIF says; whether its annotations are, too, is not known")
    if sample.size is None and any(far > side * (1 + _TOLERANCE) for far, side in zip(reach, shown, strict=True)):
        reason = f"to {reach[0]:g}x{reach[1]:g} in a picture of {_written(shown)}"
        yield Note("coordinates reach out of", "picture", sample.name, reason)


def _header(path: Path) -> tuple[Size, int]:
    """Read the size that a picture is stored in, and its EXIF orientation."""
    try:
        with _opened(path) as image:
            size, orientation = image.size, _orientation(image)
    except Exception:  # noqa: BLE001 - Pillow raises anything; the core says in words what is wrong
        size, orientation = load_image(path).size, _UPRIGHT
    if size[0] * size[1] > MAX_PIXELS:
        load_image(path)
    return size, orientation


def _opened(file: Path | io.BytesIO) -> Image.Image:
    """Open a picture without the warnings of Pillow about damaged metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(file)


def _orientation(image: Image.Image) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT))
    except Exception:  # noqa: BLE001 - a picture may be sound although its EXIF data are not
        return _UPRIGHT


def _shown(stored: Size, orientation: int) -> Size:
    return stored[::-1] if orientation in _SWAPPED else stored


def _reach(questions: tuple[Question, ...]) -> tuple[float, float] | None:
    """Return the largest x and y of all coordinates; None if there are none."""
    shapes = [shape for one in questions for shape in (one.region or (), *one.boxes, *one.polygons, *one.quads)]
    points = [(x, y) for shape in shapes for x, y in zip(shape[::2], shape[1::2], strict=False)]
    return (max(x for x, _ in points), max(y for _, y in points)) if points else None


def _written(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
