"""Pictures in object stores: what f2edge asks of a store that a URL names, by way of fsspec."""

from __future__ import annotations

import posixpath
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from f2edge.errors import AnnotationError, F2EdgeError, InputError, MissingExtraError
from f2edge.image import MAX_STREAM_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_MAGIC = re.compile(r"[*?[]")
_NO_STORES = {"http", "https", "ftp"}
"""Servers that are no stores: a web server does not list what it has."""


def is_url(text: str) -> bool:
    """Tell whether a text is a URL rather than a path of this machine."""
    return _URL.match(text) is not None


@dataclass(frozen=True)
class StorePath:
    """A file or a folder of a store, with the methods of ``pathlib.Path`` that are used of it.

    Args:
        url: its URL, such as "s3://bucket/folder/a.jpg".
        size: bytes of the file, as the store has listed it; -1 if that is not known or it is not there.
    """

    url: str
    size: int = field(default=-1, compare=False)

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> StorePath:
        """Return a path in this folder.

        Raises:
            ValueError: ``name`` leads out of the store.
        """
        if is_url(name) or name.startswith("/"):
            raise ValueError(f"{name} is no path from {self.url}")
        scheme, place = _split(self.url)
        return StorePath(f"{scheme}://{posixpath.normpath(posixpath.join(place, name))}")

    @property
    def name(self) -> str:
        """What follows the last slash."""
        return self.url.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The suffix of the name, such as ".jpg"."""
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> StorePath:
        """The folder that it is in."""
        return StorePath(self.url.rstrip("/").rpartition("/")[0])

    def as_posix(self) -> str:
        """Return the URL."""
        return self.url

    def absolute(self) -> StorePath:
        """Return the path itself, which depends on no working directory."""
        return self

    def kind(self) -> str:
        """Return "file" or "directory", or "" if nothing is there."""
        with _asking(self.url), _nothing_there():
            return str(self._info()["type"])
        return ""

    def sized(self) -> StorePath:
        """Return the path with the size that the store tells."""
        with _asking(self.url), _nothing_there():
            return StorePath(self.url, int(self._info().get("size") or 0))
        return self

    def open(self, _mode: str = "rb") -> IO[bytes]:
        """Open the file to read; what is read is fetched in blocks.

        Raises:
            AnnotationError: the store does not answer, or refuses.
            FileNotFoundError: it is not there.
        """
        with _asking(self.url):
            file: IO[bytes] = self._store().open(self._place(), "rb")
            return file

    def read_bytes(self) -> bytes:
        """Return the whole file; see :meth:`read`."""
        return self.read(0, self.size if self.size >= 0 else None)

    def read(self, start: int, length: int | None) -> bytes:
        """Return some bytes of the file, or with ``length`` None all from ``start``.

        Raises:
            AnnotationError: the store does not answer, or refuses.
            FileNotFoundError: the file is not there.
            ValueError: there are more than the longest file that is read into memory.
        """
        most = MAX_STREAM_BYTES + 1 if length is None else length
        content = b""
        if 0 < most <= MAX_STREAM_BYTES + 1:
            with _asking(self.url):
                content = self._store().cat_file(self._place(), start=start, end=start + most)
        if max(len(content), length or 0) > MAX_STREAM_BYTES:
            raise ValueError(f"it has more than {MAX_STREAM_BYTES // 2**20} MiB")
        return content

    def files(self) -> Iterator[tuple[str, StorePath]]:
        """Yield all files in this folder and in those in it, with their paths from it.

        Raises:
            AnnotationError: the store does not answer, or refuses.
        """
        return self._found("find", self._place())

    def matches(self) -> Iterator[tuple[str, StorePath]]:
        """Yield the files that this path as a pattern matches, with their paths from its part without ``*?[``.

        Hidden files and folders are left out, as ``glob`` leaves them out.

        Raises:
            AnnotationError: the store does not answer, or refuses.
            InputError: the name of the bucket is a pattern, too.
        """
        scheme, place = _split(self.url)
        parts = place.split("/")
        first = next((number for number, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
        if not first:
            raise InputError(f"{self.url} is a pattern of buckets; name one")
        found = StorePath(f"{scheme}://{'/'.join(parts[:first])}")._found("glob", self._place())  # noqa: SLF001
        return (one for one in found if not any(part.startswith(".") for part in one[0].split("/")))

    def _found(self, method: str, wanted: str) -> Iterator[tuple[str, StorePath]]:
        with _asking(self.url):
            store, root = self._store(), self._place().rstrip("/")
            found: dict[str, dict[str, Any]] = getattr(store, method)(wanted, detail=True)
            store.invalidate_cache()  # of listings, which take several times the memory of the paths
        for name, info in found.items():
            if info["type"] == "file":
                path = name.removeprefix(root).lstrip("/")
                yield path, StorePath(f"{self.url.rstrip('/')}/{path}", int(info.get("size") or 0))

    def filesystem(self) -> tuple[Any, str]:
        """Return the store as an ``fsspec.AbstractFileSystem``, and the path in it.

        Raises:
            InputError: the URL names no store, or the package of the store is not installed.
            MissingExtraError: fsspec is not installed.
        """
        return _filesystem(self.url)

    def _store(self) -> Any:
        return self.filesystem()[0]

    def _place(self) -> str:
        return self.filesystem()[1]

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = self._store().info(self._place())
        return info


def has_magic(url: str) -> bool:
    """Tell whether a URL is a pattern."""
    return _MAGIC.search(url) is not None


def _split(url: str) -> tuple[str, str]:
    found = _URL.match(url)
    assert found
    return found[1], found[2]


def _filesystem(url: str) -> tuple[Any, str]:
    scheme, _ = _split(url)
    if scheme.lower() in _NO_STORES:
        raise InputError(
            f"{url} is on a server, which f2edge does not call: download it, or name a store such as s3://"
        )
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise MissingExtraError("fsspec", "fsspec") from error
    try:
        store, place = url_to_fs(url)
    except ImportError as error:  # it names the package of the store
        raise InputError(f"{url} cannot be read: {_first_line(error)} (pip install)") from error
    except ValueError as error:
        raise InputError(f"{url} names no store: {_first_line(error)}") from error
    return store, place


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Turn whatever a store raises into one line; that a file is not there comes through."""
    try:
        yield
    except (F2EdgeError, FileNotFoundError):
        raise
    except Exception as error:
        raise AnnotationError(
            f"{url} cannot be read ({_first_line(error)}): check your access to the store, and run the same command "
            "again once it answers"
        ) from error


@contextmanager
def _nothing_there() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        return


def _first_line(error: Exception) -> str:
    return f"{(str(error) or type(error).__name__).splitlines()[0]:.160}"
