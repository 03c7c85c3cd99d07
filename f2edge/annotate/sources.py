"""The pictures to annotate: a folder, a pattern, a list of paths, an archive, or a single file."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from f2edge.annotate.archives import in_parquet, in_tar
from f2edge.annotate.pictures import SUFFIXES, Picture, picture_file
from f2edge.errors import InputError
from f2edge.paths import exists, is_dir, is_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_GIVE = "give a folder, a pattern such as 'photos/*.jpg', a tar or Parquet file, or a text file with one path a line"
_ARCHIVES: dict[str, Callable[[Path], list[Picture]]] = {".tar": in_tar, ".parquet": in_parquet}


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
            which ``**`` stands for any folders.

    Raises:
        InputError: nothing is there, or a list or an archive cannot be read.
    """
    place = Path(images)
    if is_dir(place):
        found = _below(place)
    elif is_file(place):
        found = _of_file(place) if _is_picture(place) or place.suffix.lower() in _ARCHIVES else list(_listed(place))
    elif glob.has_magic(images):
        paths = (Path(path) for path in glob.iglob(images, recursive=True))  # noqa: PTH207 - it may be absolute
        found = [one for path in sorted(paths) if is_file(path) for one in _of_file(path)]
    elif exists(place):
        raise InputError(f"{images} is neither a folder nor a file; {_GIVE}")
    else:
        raise InputError(f"{images} is not there; {_GIVE}")
    if not found:
        raise InputError(f"{images} holds no pictures; {_GIVE}")
    return _once(found)


def _below(folder: Path) -> list[Picture]:
    paths = (path for path in folder.rglob("*") if _is_picture(path) and is_file(path))
    return sorted((picture_file(path.relative_to(folder).as_posix(), path) for path in paths), key=lambda one: one.id)


def _of_file(path: Path) -> list[Picture]:
    """Return the pictures of an archive, or a file as one picture."""
    archive = _ARCHIVES.get(path.suffix.lower())
    return archive(path) if archive else [picture_file(path.as_posix(), path)]


def _is_picture(path: Path) -> bool:
    """Tell by the name; hidden files are those that macOS adds."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _listed(path: Path) -> Iterator[Picture]:
    """Read a list; a path that leads nowhere is a picture that cannot be read.

    Raises:
        InputError: the file is no list.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no list of paths in UTF-8; {_GIVE}") from error
    return (picture_file(line.strip(), path.parent / line.strip()) for line in lines if line.strip())


def _once(pictures: Iterable[Picture]) -> Pictures:
    listed = list(pictures)
    by_id = {picture.id: picture for picture in listed}
    return Pictures(tuple(by_id.values()), len(listed) - len(by_id))
