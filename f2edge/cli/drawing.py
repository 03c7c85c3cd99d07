"""``f2edge run --draw``: choose the files of the drawings, and write them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from f2edge.cli.output import check_place, replace_file
from f2edge.draw import draw
from f2edge.errors import InputError
from f2edge.image import load_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.image import ImageSource
    from f2edge.result import Result

STANDARD_INPUT = "-"
"""The name of the picture on standard input."""

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # of a larger one libjpeg prints a line of its own
_QUALITY = 95


def destinations(out: Path | None, images: Sequence[str]) -> list[Path | None]:
    """Return a file for each picture: ``out`` itself for a single one, else PNG files in the directory ``out``.

    If ``out`` is a directory already, a single picture goes into it, too.

    Raises:
        InputError: ``out`` cannot take them, or one of the pictures would be overwritten.
    """
    if out is None:
        return [None] * len(images)
    single = len(images) == 1 and not out.is_dir()
    files = [_single(out)] if single else _in_directory(out, images)
    sources = {Path(image).resolve() for image in images if image != STANDARD_INPUT}
    for file in files:
        if file.resolve() in sources:
            raise InputError(f"--draw {out} would overwrite the picture {file}; choose another place")
    return [*files]


def save_drawing(image: ImageSource, result: Result, path: Path) -> None:
    """Draw an answer into its picture and write that, whole or not at all.

    Raises:
        InputError: the picture is larger than the format of ``path`` can hold.
        OSError: the file cannot be written.
    """
    picture, kind = load_image(image), _FORMATS[path.suffix.lower()]
    _check_size(path, kind, picture.size)
    buffer = io.BytesIO()
    draw(picture, result).save(buffer, kind, quality=_QUALITY)
    replace_file(path, buffer.getvalue())


def _check_size(path: Path, kind: str, size: tuple[int, int]) -> None:
    longest = _LONGEST_SIDE.get(kind)
    if longest and max(size) > longest:
        width, height = size
        raise InputError(
            f"--draw {path}: {kind} holds at most {longest} pixels a side, the picture has {width}x{height}; "
            f"name a file that ends in .png"
        )


def _single(out: Path) -> Path:
    if out.suffix.lower() not in _FORMATS:
        formats = ", ".join(_FORMATS)
        raise InputError(f"--draw {out}: neither a directory nor a name of a picture file, which ends in {formats}")
    check_place("--draw", out)
    return out


def _in_directory(out: Path, images: Sequence[str]) -> list[Path]:
    """Return files named after the pictures; the second picture of the same name gets a number."""
    _check_directory(out)
    stems: list[str] = []
    for image in images:
        name = "stdin" if image == STANDARD_INPUT else Path(image).stem
        stem, number = name, 2
        while stem in stems:
            stem, number = f"{name}-{number}", number + 1
        stems.append(stem)
    return [out / f"{stem}.png" for stem in stems]


def _check_directory(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--draw {out} is a file; several pictures need a directory")
    check_place("--draw", out / "picture")
    if not out.is_dir() and out.suffix.lower() in _FORMATS:
        raise InputError(f"--draw {out} is a name of one picture file; for several pictures name a directory")
