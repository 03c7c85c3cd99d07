"""The pictures to annotate, here or in a store: a folder, a pattern, a list of paths, an archive, or a single file."""

from __future__ import annotations

import glob
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from f2edge.annotate.archives import in_parquet, in_tar
from f2edge.annotate.pictures import SUFFIXES, Picture, picture_file
from f2edge.annotate.stores import StorePath, has_magic, is_url
from f2edge.errors import InputError
from f2edge.paths import exists, is_dir, is_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from f2edge.annotate.pictures import Place

_GIVE = "give a folder, a pattern such as 'photos/*.jpg', a tar or Parquet file, or a text file with one path a line"
_REQUESTS = 16
_ARCHIVES: dict[str, Callable[[Place], list[Picture]]] = {".tar": in_tar, ".parquet": in_parquet}


@dataclass(frozen=True)
class Pictures:
    """The pictures of a run.

    Args:
        pictures: in the order of the output; no two have the same id.
        repeated: how many a list named again, which count once.
    """

    pictures: tuple[Picture, ...]
    repeated: int = 0

    def sha256(self) -> str:
        """Return the SHA-256 of the ids and the sizes of the files, in their order."""
        total = hashlib.sha256()
        for picture in self.pictures:
            total.update(f"{picture.id}\0{picture.size}\n".encode())
        return total.hexdigest()

    def shard(self, number: int, size: int) -> Sequence[Picture]:
        """Return the pictures of one shard."""
        return self.pictures[number * size : (number + 1) * size]


def find_pictures(images: str) -> Pictures:
    """Find pictures.

    Args:
        images: a folder, whose pictures and those of the folders in it count, by their suffixes; a tar file, as
            WebDataset has them, or a Parquet file with a column of pictures; one picture; a file of any other suffix
            with one path a line, from the folder of the file; or a pattern of files with ``*``, ``?`` or ``[...]``, in
            which ``**`` stands for any folders.  It may be the URL of a store that fsspec knows, such as
            "s3://bucket/photos".

    Raises:
        AnnotationError: a store does not answer, or refuses.
        InputError: nothing is there, a list or an archive cannot be read, or a URL names no store.
        MissingExtraError: fsspec, which asks stores, is not installed.
    """
    found = _in_store(images) if is_url(images) else _here(images)
    if not found:
        raise InputError(f"{images} holds no pictures; {_GIVE}")
    return _once(found)


def _here(images: str) -> list[Picture]:
    place = Path(images)
    if is_dir(place):
        return _below(place)
    if is_file(place):
        return _of_named(place)
    if glob.has_magic(images):
        paths = (Path(path) for path in glob.iglob(images, recursive=True))  # noqa: PTH207 - it may be absolute
        return [one for path in sorted(paths) if is_file(path) for one in _of_file(path)]
    if exists(place):
        raise InputError(f"{images} is neither a folder nor a file; {_GIVE}")
    raise InputError(f"{images} is not there; {_GIVE}")


def _in_store(images: str) -> list[Picture]:
    place = StorePath(images)
    kind = place.kind()
    if kind == "directory":
        found = (picture_file(name, path) for name, path in place.files() if _is_picture(path))
        return sorted(found, key=lambda one: one.id)
    if kind == "file":
        return _of_named(place.sized())
    if has_magic(images):
        matches = sorted(place.matches(), key=lambda match: match[0].split("/"))
        return [one for _, path in matches for one in _of_file(path)]
    raise InputError(f"{images} is not there; {_GIVE}")


def _below(folder: Path) -> list[Picture]:
    paths = (path for path in folder.rglob("*") if _is_picture(path) and is_file(path))
    return sorted((picture_file(path.relative_to(folder).as_posix(), path) for path in paths), key=lambda one: one.id)


def _of_named(path: Place) -> list[Picture]:
    """Return the pictures of an archive or a list, or a file as one picture."""
    known = _is_picture(path) or path.suffix.lower() in _ARCHIVES
    return _of_file(path) if known else list(_listed(path))


def _of_file(path: Place) -> list[Picture]:
    """Return the pictures of an archive, or a file as one picture."""
    archive = _ARCHIVES.get(path.suffix.lower())
    return archive(path) if archive else [picture_file(path.as_posix(), path)]


def _is_picture(path: Place) -> bool:
    """Tell by the name; hidden files are those that macOS adds."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _listed(path: Place) -> Iterator[Picture]:
    """Read a list; a path that leads nowhere is a picture that cannot be read.

    Raises:
        InputError: the file is no list.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except ValueError as error:
        raise InputError(f"{path} is no list of paths in UTF-8; {_GIVE}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not any(map(is_url, names)) and isinstance(path, Path):
        return (picture_file(name, path.parent / name) for name in names)
    return map(picture_file, names, _asked([_place(path.parent, name) for name in names]))


def _place(folder: Place, name: str) -> Place:
    return StorePath(name) if is_url(name) else folder / name


def _asked(places: Iterable[Place]) -> Iterator[Place]:
    """Ask stores for the sizes of files, which takes a request for each, several at the same time."""
    with ThreadPoolExecutor(_REQUESTS, thread_name_prefix="f2edge-annotate") as pool:
        yield from pool.map(lambda place: place.sized() if isinstance(place, StorePath) else place, places)


def _once(pictures: Iterable[Picture]) -> Pictures:
    listed = list(pictures)
    by_id = {picture.id: picture for picture in listed}
    return Pictures(tuple(by_id.values()), len(listed) - len(by_id))
