"""One picture to annotate, wherever it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from f2edge.annotate.stores import StorePath
from f2edge.errors import ImageError, InputError
from f2edge.paths import exists

if TYPE_CHECKING:
    from f2edge.image import ImageSource

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"})

Place: TypeAlias = Path | StorePath
"""A file of this machine, or of a store."""


@dataclass(frozen=True)
class Picture:
    """One picture.

    Args:
        id: its name in the output, which no other picture has.
        path: its file, or the archive that it is in.
    """

    id: str
    path: Place

    def open(self) -> ImageSource:
        """Return what ``f2edge.load_image`` opens: the path, or the bytes of a file in a store.

        Raises:
            ImageError: the file in the store cannot be read.
            AnnotationError: the store does not answer, or refuses.
        """
        return self.path if isinstance(self.path, Path) else content_of(self)

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
        """Whether ``path`` is a file of this machine and the picture itself, not an archive that it is in."""
        return isinstance(self.path, Path)

    @property
    def is_there(self) -> bool:
        """Whether this machine sees its file, or the archive that it is in."""
        return exists(self.path) if isinstance(self.path, Path) else self.path.kind() == "file"

    def absolute(self) -> Picture:
        """Return the picture with a path that depends on no working directory."""
        return replace(self, path=self.path.absolute())

    @property
    def size(self) -> int:
        """Bytes of the file; -1 if it is not there."""
        if isinstance(self.path, StorePath):
            return self.path.size
        try:
            return self.path.stat().st_size
        except (OSError, ValueError):  # a name with a null character is no path
            return -1


def picture_file(name: str, path: Place) -> Picture:
    """Return a picture whose id is text: bytes of a name that are no UTF-8 are written as escapes."""
    return Picture(name.encode("utf-8", "backslashreplace").decode(), path)


def content_of(picture: Picture) -> bytes:
    """Return the bytes of a picture.

    Raises:
        ImageError: they cannot be read.
        AnnotationError: a store does not answer, or refuses.
    """
    try:
        return picture.read()
    except (OSError, ValueError, InputError) as error:
        raise ImageError(f"{picture.id} cannot be read: {error}") from error
