"""Which pictures a run is about: folders, patterns, lists and single files."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from f2edge.annotate.sources import find_pictures
from f2edge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write files into a folder and one in it; two of them are no pictures."""
    place = tmp_path / "photos"
    (place / "more").mkdir(parents=True)
    for name in ("b.jpg", "a.PNG", "more/c.webp", ".hidden.jpg", "notes.txt"):
        (place / name).write_bytes(b"x" * len(name))
    return place


def ids(images: object) -> list[str]:
    """Return the ids of the pictures that are found."""
    return [picture.id for picture in find_pictures(str(images)).pictures]


def test_a_folder(folder: Path) -> None:
    """Pictures of the folder and of those in it come by their names, without hidden and other files."""
    assert ids(folder) == ["a.PNG", "b.jpg", "more/c.webp"]


def test_a_pattern(folder: Path) -> None:
    """A pattern names files; two asterisks stand for any folders."""
    assert ids(folder / "*.jpg") == [(folder / "b.jpg").as_posix()]
    assert len(ids(folder / "**" / "*.[wj]*p*")) == 2


def test_a_list(folder: Path) -> None:
    """Paths of a list begin at its folder, keep their order, and count once; a missing file is a picture, too."""
    names = folder / "list.txt"
    names.write_text("\ufeffmore/c.webp\n\n gone.jpg \r\nb.jpg\nmore/c.webp\n", "utf-8")
    found = find_pictures(str(names))
    assert [picture.id for picture in found.pictures] == ["more/c.webp", "gone.jpg", "b.jpg"]
    assert found.repeated == 1
    assert [picture.size for picture in found.pictures] == [11, -1, 5]
    assert found.pictures[0].path == folder / "more" / "c.webp"


def test_one_picture(folder: Path) -> None:
    """A file with the suffix of a picture is one picture."""
    assert ids(folder / "b.jpg") == [(folder / "b.jpg").as_posix()]


def test_refused_places(folder: Path, tmp_path: Path) -> None:
    """A place without pictures is refused in one line that says what to give."""
    (tmp_path / "empty").mkdir()
    (folder / "binary.bin").write_bytes(b"\xff\xfe\xfd")
    for place, reason in (
        (tmp_path / "empty", "holds no pictures"),
        (tmp_path / "gone", "is not there"),
        (folder / "*.gif", "holds no pictures"),
        (folder / "binary.bin", "is no list of paths in UTF-8"),
    ):
        with pytest.raises(InputError, match=reason):
            find_pictures(str(place))


def test_other_pictures_have_another_hash(folder: Path) -> None:
    """The hash of the sources changes with a name, with the size of a file, and with the order of a list."""
    before = find_pictures(str(folder)).sha256()
    assert find_pictures(str(folder)).sha256() == before
    (folder / "b.jpg").write_bytes(b"longer")
    changed = find_pictures(str(folder)).sha256()
    (folder / "b.jpg").rename(folder / "d.jpg")
    assert len({before, changed, find_pictures(str(folder)).sha256()}) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux only")
def test_names_that_are_no_text(folder: Path) -> None:
    """An id is text, whatever bytes the name of a file has."""
    with open(os.fsencode(folder) + b"/\xff.jpg", "wb") as file:  # noqa: PTH123
        file.write(b"x")
    found = find_pictures(str(folder))
    assert "\\udcff.jpg" in [picture.id for picture in found.pictures]
    assert found.sha256()


def test_shards_cover_all_pictures(folder: Path) -> None:
    """Shards are consecutive pictures; the last one has the rest."""
    found = find_pictures(str(folder))
    assert [[one.id for one in found.shard(number, 2)] for number in range(2)] == [["a.PNG", "b.jpg"], ["more/c.webp"]]
