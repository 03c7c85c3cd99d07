"""One picture to annotate, wherever it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from f2edge.image import ImageSource

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"})


@dataclass(frozen=True)
class Picture:
    """One picture.

    Args:
        id: its name in the output, which no other picture has.
        path: its file, or the archive that it is in.
    """

    id: str
    path: Path

    def open(self) -> ImageSource:
        """Return what ``f2edge.load_image`` opens."""
        return self.path

    def read(self) -> bytes:
        """Return the bytes of its file.

        Raises:
            OSError: it cannot be read.
        """
        return self.path.read_bytes()

    @property
    def suffix(self) -> str:
        """The suffix of its name in small letters, such as ".jpg"."""
        return PurePosixPath(self.id).suffix.lower()

    @property
    def is_file(self) -> bool:
        """Whether ``path`` is the picture itself, not an archive that it is in."""
        return True

    @property
    def size(self) -> int:
        """Bytes of the file; -1 if it is not there."""
        try:
            return self.path.stat().st_size
        except (OSError, ValueError):  # a name with a null character is no path
            return -1


def picture_file(name: str, path: Path) -> Picture:
    """Return a picture whose id is text: bytes of a name that are no UTF-8 are written as escapes."""
    return Picture(name.encode("utf-8", "backslashreplace").decode(), path)
