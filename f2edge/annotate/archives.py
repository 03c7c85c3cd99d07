"""Pictures in archives: tar files as WebDataset has them, and Parquet files with a column of pictures."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from f2edge.annotate.pictures import SUFFIXES, Picture, content_of
from f2edge.annotate.stores import StorePath
from f2edge.annotate.tables import open_parquet
from f2edge.errors import InputError

if TYPE_CHECKING:
    from f2edge.annotate.pictures import Place
    from f2edge.image import ImageSource

_COLUMNS = ("image", "picture", "jpg", "png", "bytes", "path", "file", "file_name")
"""The columns that may have pictures, the first one there counts."""
_SIGNATURES = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}


@dataclass(frozen=True)
class TarPicture(Picture):
    """A member of a tar file.

    Args:
        start: where its bytes begin in the file.
        length: how many there are.
    """

    start: int
    length: int

    def open(self) -> ImageSource:
        """Return the bytes of the member.

        Raises:
            ImageError: the archive cannot be read.
        """
        return content_of(self)

    def read(self) -> bytes:
        """Return the bytes of the member."""
        if isinstance(self.path, StorePath):
            return self.path.read(self.start, self.length)
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.length)

    @property
    def size(self) -> int:
        """Bytes of the member."""
        return self.length

    @property
    def is_file(self) -> bool:
        """It is in an archive."""
        return False


@dataclass(frozen=True)
class ParquetPicture(Picture):
    """A row of a Parquet file: the bytes of a picture, or its path from the folder of the file.

    Args:
        column: the column of pictures.
        group: the number of the row group.
        row: the number of the row in it.
    """

    column: str
    group: int
    row: int

    def open(self) -> ImageSource:
        """Return the bytes of the picture.

        Raises:
            ImageError: neither they nor the file that the row names can be read.
        """
        return content_of(self)

    def read(self) -> bytes:
        """Return the bytes of the picture.

        Raises:
            ValueError: the row has neither bytes nor a path.
        """
        value = _group(self.path, self.group, self.column)[self.row].as_py()
        if isinstance(value, dict):  # as Hugging Face's data sets have pictures
            value = value.get("bytes") or value.get("path")
        if isinstance(value, str):
            return (self.path.parent / value).read_bytes()
        if not isinstance(value, bytes):
            raise ValueError("its row has neither the bytes of a picture nor a path")  # noqa: TRY004 - no type is wrong
        return value

    @property
    def suffix(self) -> str:
        """The suffix for its format."""
        content = self.read()
        return next((suffix for head, suffix in _SIGNATURES.items() if content.startswith(head)), ".img")

    @property
    def is_file(self) -> bool:
        """It is in an archive."""
        return False


def in_tar(path: Place) -> list[Picture]:
    """Return the pictures of a tar file, by the suffixes of its members, in their order.

    Raises:
        InputError: it is no tar file, or a compressed one, in which nothing can be found again.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            return [
                TarPicture(_id(path, member.name), path, member.offset_data, member.size)
                for member in tar
                if member.isfile() and _is_picture(member.name)
            ]
    except (tarfile.TarError, OSError) as error:
        raise InputError(f"{path} is no sound, uncompressed tar file ({error}); pack it anew") from error


def in_parquet(path: Place) -> list[Picture]:
    """Return the pictures of a Parquet file, in the order of its rows.

    Raises:
        InputError: it is damaged, or has no column of pictures.
    """
    file = open_parquet(path)
    names = file.schema_arrow.names
    column = next((name for name in _COLUMNS if name in names), None)
    if column is None:
        raise InputError(f"{path} has no column of pictures: name one of {', '.join(names[:8])} {_COLUMNS[0]}")
    rows = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    places = [(group, row) for group, count in enumerate(rows) for row in range(count)]
    return [ParquetPicture(_id(path, str(number)), path, column, *place) for number, place in enumerate(places)]


def _is_picture(name: str) -> bool:
    last = PurePosixPath(name)
    return last.suffix.lower() in SUFFIXES and not last.name.startswith(".")


def _id(path: Place, name: str) -> str:
    return f"{path.as_posix()}/{name}".encode("utf-8", "backslashreplace").decode()


@lru_cache(maxsize=4)
def _group(path: Place, group: int, column: str) -> Any:
    """Return the column of a row group; neighbouring pictures are in the same one."""
    return open_parquet(path).read_row_group(group, columns=[column])[column]
