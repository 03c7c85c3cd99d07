"""Pictures in tar and Parquet files: all are found, and their bytes are those of their files."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from f2edge.annotate.sources import find_pictures
from f2edge.errors import ImageError, InputError
from f2edge.image import load_image
from tests.support.annotations import SIZE, write_photos

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 4


@pytest.fixture
def contents(tmp_path: Path) -> list[bytes]:
    """Return the files of some pictures."""
    write_photos(tmp_path / "photos", COUNT)
    return [path.read_bytes() for path in sorted((tmp_path / "photos").iterdir())]


def write_tar(path: Path, members: dict[str, bytes], mode: Any = "w") -> None:
    """Write a tar file."""
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_a_tar_of_webdataset(contents: list[bytes], tmp_path: Path) -> None:
    """Members with the suffix of a picture are pictures, in their order; a pattern reads several files."""
    for name, half in (("b.tar", contents[:2]), ("a.tar", contents[2:])):
        members = {
            f"{index:03d}.{kind}": content
            for index, one in enumerate(half)
            for kind, content in (("png", one), ("json", b"{}"))
        }
        write_tar(tmp_path / name, {**members, "._000.png": b"x"})
    found = find_pictures(str(tmp_path / "*.tar")).pictures
    assert [one.id for one in found] == [
        f"{tmp_path.as_posix()}/{name}.tar/00{index}.png" for name in "ab" for index in (0, 1)
    ]
    assert [one.read() for one in found] == [*contents[2:], *contents[:2]]
    assert [one.size for one in found] == [len(content) for content in (*contents[2:], *contents[:2])]
    assert {load_image(one.open()).size for one in found} == {SIZE}
    assert {(one.suffix, one.is_file) for one in found} == {(".png", False)}


@pytest.mark.parametrize("column", ["image", "jpg", "struct", "path"])
def test_a_table_of_pictures(column: str, contents: list[bytes], tmp_path: Path) -> None:
    """A column has bytes, paths, or both as Hugging Face's data sets; a row without a picture cannot be read."""
    values: list[Any] = [*contents, None]
    if column == "path":
        values = [*(f"photos/{index:02d}.png" for index in range(COUNT)), None]
    if column == "struct":
        values = [*({"bytes": one, "path": None} for one in contents), {"bytes": None, "path": None}]
    name = {"struct": "image"}.get(column, column)
    pq.write_table(pa.table({"label": list(range(COUNT + 1)), name: values}), tmp_path / "t.parquet", row_group_size=2)
    found = find_pictures(str(tmp_path / "t.parquet")).pictures
    assert [one.id for one in found] == [f"{tmp_path.as_posix()}/t.parquet/{row}" for row in range(COUNT + 1)]
    assert [one.read() for one in found[:-1]] == contents
    assert {one.suffix for one in found[:-1]} == {".png"}
    with pytest.raises(ImageError, match="4 cannot be read: its row has neither"):
        found[-1].open()


def test_a_file_that_is_gone(contents: list[bytes], tmp_path: Path) -> None:
    """An archive that cannot be read any more gives pictures that cannot be read."""
    write_tar(tmp_path / "a.tar", {"0.png": contents[0]})
    (picture,) = find_pictures(str(tmp_path / "a.tar")).pictures
    (tmp_path / "a.tar").unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        picture.open()


def test_refused_archives(contents: list[bytes], tmp_path: Path) -> None:
    """Archives that are damaged or compressed, and tables without pictures, are refused in one line."""
    (tmp_path / "damaged.tar").write_bytes(b"x" * 2000)
    write_tar(tmp_path / "packed.tar", {"0.png": contents[0]}, "w:gz")
    write_tar(tmp_path / "empty.tar", {"0.txt": b"x"})
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    pq.write_table(pa.table({"label": [1]}), tmp_path / "labels.parquet")
    for name, reason in (
        ("damaged.tar", "is no sound, uncompressed tar file"),
        ("packed.tar", "is no sound, uncompressed tar file"),
        ("empty.tar", "holds no pictures"),
        ("damaged.parquet", "is no sound Parquet file"),
        ("labels.parquet", "has no column of pictures: name one of label image"),
    ):
        with pytest.raises(InputError, match=reason):
            find_pictures(str(tmp_path / name))
