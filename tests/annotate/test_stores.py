"""Pictures in object stores: the same ids, bytes and records as for files of this machine."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from f2edge.annotate import stores
from f2edge.annotate.linking import path_of
from f2edge.annotate.sources import find_pictures
from f2edge.annotate.stores import StorePath
from f2edge.errors import AnnotationError, ImageError, InputError
from f2edge.image import load_image
from tests.support.annotations import SIZE, write_photos
from tests.support.command import f2edge, f2edge_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from f2edge.annotate.pictures import Picture

fsspec: Any = pytest.importorskip("fsspec", reason="install the extra fsspec to run this test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write pictures, some of them in a folder, in a tar file and in Parquet files, and what is none."""
    place = tmp_path / "photos"
    write_photos(place, 3)
    write_photos(place / "more-", 1)
    write_photos(place / "more" / "deep", 2)
    write_photos(place / ".cache", 1)
    (place / ".hidden.png").write_bytes(b"x")
    (place / "notes.txt").write_text("more/deep/00.png\ngone.png\n01.png\n", "utf-8")
    with tarfile.open(place / "a.tar", "w") as tar:
        tar.add(place / "00.png", "one.png")
        tar.add(place / "01.png", "two.png")
        tar.add(place / "notes.txt", "one.txt")
    contents = [(place / f"{number:02d}.png").read_bytes() for number in range(3)]
    pq.write_table(pa.table({"image": contents}), place / "bytes.parquet", row_group_size=2)
    pq.write_table(pa.table({"path": ["02.png", "more/deep/01.png", "gone.png"]}), place / "paths.parquet")
    return place


@pytest.fixture
def memory(folder: Path) -> Iterator[str]:
    """Copy the folder into a store in memory; return its URL."""
    store = fsspec.filesystem("memory")
    store.put(f"{folder}/", "/bucket/photos/", recursive=True)
    yield "memory://bucket/photos"
    store.rm("/bucket", recursive=True)


def contents(pictures: tuple[Picture, ...]) -> list[bytes | None]:
    """Return the bytes of pictures, None for those that are not there."""
    found: list[bytes | None] = []
    for picture in pictures:
        try:
            found.append(picture.read())
        except FileNotFoundError:
            found.append(None)
    return found


@pytest.mark.parametrize("store", ["memory", "file"])
@pytest.mark.parametrize(
    "images",
    [
        *("", "/", "/*.png", "/**/*.png", "/m*/*/0[01].png", "/*", "/01.png", "/notes.txt"),
        *("/a.tar", "/bytes.parquet", "/paths.parquet", "/*.parquet"),
    ],
)
def test_as_on_this_machine(images: str, store: str, folder: Path, memory: str) -> None:
    """Folders, patterns, lists, archives and pictures give the same ids, sizes and bytes in the same order."""
    url = {"memory": memory, "file": f"file://{folder.as_posix()}"}[store]
    here, there = find_pictures(f"{folder}{images}"), find_pictures(f"{url}{images}")
    assert [one.id.removeprefix(url) for one in there.pictures] == [
        one.id.removeprefix(folder.as_posix()) for one in here.pictures
    ]
    found = contents(here.pictures)
    assert contents(there.pictures) == found
    read = [
        pair for pair, content in zip(zip(here.pictures, there.pictures, strict=True), found, strict=True) if content
    ]
    assert read
    assert [other.suffix for _, other in read] == [one.suffix for one, _ in read]
    assert [one.size for one in there.pictures] == [one.size for one in here.pictures]
    if images in ("", "/notes.txt"):
        assert there.sha256() == here.sha256()


def test_pictures_can_be_opened(memory: str) -> None:
    """A file of a store is opened as one of this machine; one that is gone is a picture that cannot be read."""
    found = find_pictures(f"{memory}/notes.txt").pictures
    assert [one.size > 0 for one in found] == [True, False, True]
    assert load_image(found[0].open()).size == SIZE
    assert not found[0].is_file
    with pytest.raises(ImageError, match=r"gone.png cannot be read"):
        found[1].open()
    assert path_of(find_pictures(f"{memory}/01.png").pictures[0]).as_posix() == "memory/bucket/photos/01.png"


def test_a_list_of_urls(memory: str, folder: Path) -> None:
    """A list of this machine may name files of stores, beside its own."""
    (folder / "list.txt").write_text(f"{memory}/00.png\n02.png\n{memory}/gone.png\n", "utf-8")
    found = find_pictures(str(folder / "list.txt")).pictures
    assert [one.id for one in found] == [f"{memory}/00.png", "02.png", f"{memory}/gone.png"]
    assert [one.size > 0 for one in found] == [True, True, False]
    assert [one.is_file for one in found] == [False, True, False]


def test_tables_name_no_servers(folder: Path) -> None:
    """A row of a table is not followed to another store, nor out of its own."""
    url = f"file://{folder.as_posix()}"
    pq.write_table(pa.table({"path": ["memory://bucket/x.png", "/etc/x.png"]}), folder / "bad.parquet")
    for picture in find_pictures(f"{url}/bad.parquet").pictures:
        with pytest.raises(ImageError, match="is no path from"):
            picture.open()


def test_reads_are_bounded(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is longer than the longest picture is not read into memory, however long the store says it is."""
    picture = find_pictures(f"{memory}/00.png").pictures[0]
    monkeypatch.setattr(stores, "MAX_STREAM_BYTES", picture.size - 1)
    with pytest.raises(ImageError, match="it has more than 0 MiB"):
        picture.open()
    with pytest.raises(ValueError, match="it has more than 0 MiB"):
        StorePath(f"{memory}/00.png").read_bytes()
    member = find_pictures(f"{memory}/a.tar").pictures[0]
    with pytest.raises(ImageError, match="it has more than 0 MiB"):
        member.open()
    monkeypatch.setattr(stores, "MAX_STREAM_BYTES", picture.size)
    assert picture.open() == StorePath(f"{memory}/00.png").read_bytes()


def test_a_store_that_refuses(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails ends the run: its pictures are not taken for unreadable ones."""
    picture = find_pictures(f"{memory}/00.png").pictures[0]

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("403: the token has expired\nmore")

    for method in ("cat_file", "info"):
        monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem." + method, refuse)
    for ask in (picture.open, lambda: find_pictures(memory)):
        with pytest.raises(AnnotationError, match=r"cannot be read \(403: the token has expired\): check your access"):
            ask()


def test_refused_urls(memory: str) -> None:
    """Servers that are no stores, unknown ones, stores without their package, and places where nothing is."""
    for url, reason in (
        ("https://example.com/a.jpg", "is on a server, which f2edge does not call: download it"),
        ("HTTP://example.com/a.jpg", "is on a server"),
        ("nostore://x/y", "names no store: Protocol not known: nostore"),
        ("oci://bucket/x", "Install ocifs"),
        ("memory://*/x.png", "is a pattern of buckets"),
        (f"{memory}/gone", "is not there"),
        (f"{memory}/*.gif", "holds no pictures"),
        (f"{memory}/.cache/../a.tar/x", "is not there"),
    ):
        with pytest.raises(InputError, match=reason):
            find_pictures(url)


def test_a_run(tiny_bundle: Path, memory: str, folder: Path, tmp_path: Path) -> None:
    """The records of a run over a store are those of a run over its files, and so is what is exported."""
    asked = ("--tasks", "caption", "--num-beams", 1, "--max-new-tokens", 4, "--threads", 1, "--sheet", 1)
    for images, output in ((folder / "more", "here"), (f"{memory}/more", "there")):
        done = f2edge("annotate", tiny_bundle, images, "-o", tmp_path / output, *asked, "--format", "webdataset")
        assert done.code == 0, done.stderr
    for name in ("shards/00000.parquet", "statistics.json", "run.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    for output in ("here", "there"):
        with tarfile.open(fileobj=io.BytesIO((tmp_path / output / "webdataset" / "00000.tar").read_bytes())) as tar:
            assert [member.name for member in tar if member.name.endswith(".png")] == ["000000000.png", "000000001.png"]


def test_an_output_in_a_store(tiny_bundle: Path, folder: Path) -> None:
    """Annotations are written to files; a URL would be a folder with a strange name."""
    error = f2edge("annotate", tiny_bundle, folder, "-o", "s3://bucket/out").error
    assert "-o s3:/bucket/out" in error or "--output" in error
    assert "give a directory of this machine" in error


def test_fsspec_is_not_installed(tiny_bundle: Path, tmp_path: Path) -> None:
    """The extra is named."""
    blocked = "import sys; sys.modules['fsspec'] = None"
    outcome = f2edge_process("annotate", tiny_bundle, "memory://x/y", "-o", tmp_path / "out", first=blocked)
    assert outcome.error == "f2edge: fsspec is not installed; run: pip install 'f2edge[fsspec]'"
