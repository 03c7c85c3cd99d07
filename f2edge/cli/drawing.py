"""``f2edge run --draw``: where the pictures go, and writing them."""

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

    from f2edge.result import Result

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_QUALITY = 95


def destinations(out: Path | None, images: Sequence[str]) -> list[Path | None]:
    """A file for each picture: ``out`` itself for a single one, else PNG files in the directory ``out``.

    Raises:
        InputError: ``out`` cannot take them, or one of the pictures would be overwritten.
    """
    if out is None:
        return [None] * len(images)
    files = [_single(out)] if len(images) == 1 else _in_directory(out, images)
    sources = {Path(image).resolve() for image in images}
    for file in files:
        if file.resolve() in sources:
            raise InputError(f"--draw {out} would overwrite the picture {file}; choose another place")
    return [*files]


def save_drawing(image: str, result: Result, path: Path) -> None:
    """Draw what was found in a picture and write it, whole or not at all."""
    buffer = io.BytesIO()
    draw(load_image(image), result).save(buffer, _FORMATS[path.suffix.lower()], quality=_QUALITY)
    replace_file(path, buffer.getvalue())


def _single(out: Path) -> Path:
    if out.suffix.lower() not in _FORMATS:
        raise InputError(f"--draw {out}: not a name of a picture file; it must end in {', '.join(_FORMATS)}")
    check_place("--draw", out)
    return out


def _in_directory(out: Path, images: Sequence[str]) -> list[Path]:
    """Files of the pictures' names; the second picture of a name is numbered."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--draw {out} is a file; several pictures need a directory")
    out.mkdir(parents=True, exist_ok=True)
    stems: list[str] = []
    for image in images:
        stem, number = Path(image).stem, 2
        while stem in stems:
            stem, number = f"{Path(image).stem}-{number}", number + 1
        stems.append(stem)
    return [out / f"{stem}.png" for stem in stems]
