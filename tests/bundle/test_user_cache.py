"""The cache of the user: where its files are, and that everything works without it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path

import pytest

from f2edge.bundle.sealing import SEAL
from f2edge.bundle.user_cache import (
    cache_key,
    claimed,
    clear_oldest,
    kept_whole,
    usable_directory,
    user_cache,
    write_whole,
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the cache to an empty directory and return its path."""
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_directory_of_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F2EDGE_CACHE decides; without it, the cache is f2edge's folder in the system's cache directory."""
    assert user_cache() == cache
    monkeypatch.delenv("F2EDGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr("sys.platform", "linux")
    assert user_cache() == Path("/somewhere/f2edge")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache() == Path.home() / ".cache" / "f2edge"
    monkeypatch.setattr("sys.platform", "darwin")
    assert user_cache() == Path.home() / "Library" / "Caches" / "f2edge"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert user_cache() == Path("/local/f2edge/cache")


def test_keys() -> None:
    """Every part of a key counts; the order of the parts does not."""
    assert cache_key({"a": 1, "b": 2}) == cache_key({"b": 2, "a": 1})
    assert len({cache_key({"a": 1}), cache_key({"a": 2}), cache_key({"b": 1}), cache_key({"a": "1"})}) == 4


def test_the_least_recently_used_is_removed(cache: Path) -> None:
    """The oldest directories are removed until the rest fits the limit; using a directory makes it new."""
    for age, key in enumerate(("new", "middle", "old")):
        directory = usable_directory("blobs", key)
        assert directory
        (directory / "file").write_bytes(bytes(100))
        os.utime(directory, (1e9 - age, 1e9 - age))
    usable_directory("blobs", "old")
    clear_oldest("blobs", 250)
    assert {path.name for path in (cache / "blobs").iterdir()} == {"new", "old"}
    clear_oldest("nothing", 0)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing can be written, nothing is cached and nothing fails."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "file" / "cache"))
    assert usable_directory("blobs", "key") is None
    write_whole(user_cache() / "verdict.json", b"{}")
    clear_oldest("blobs", 0)


def test_files_are_written_whole(cache: Path) -> None:
    """A file is written under another name and renamed over the old one; no other file is left."""
    for data in (b"one", b"two"):
        write_whole(cache / "deep" / "file", data)
    assert [(path.name, path.read_bytes()) for path in (cache / "deep").iterdir()] == [("file", b"two")]


def test_a_claimed_directory(tmp_path: Path) -> None:
    """A second claim of the same directory waits until the first ends."""

    def claim() -> bool:
        with claimed(tmp_path) as mine:
            return mine

    with ThreadPoolExecutor(1) as pool:
        with claimed(tmp_path) as mine:
            assert mine
            other = pool.submit(claim)
            assert not wait_for([other], timeout=0.3).done
        assert other.result(timeout=60)


def test_a_directory_that_cannot_be_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block runs unclaimed if the directory takes no lock, or if another keeps the lock too long."""
    (tmp_path / "lock").mkdir()
    with claimed(tmp_path) as mine:
        assert not mine
    (tmp_path / "lock").rmdir()
    monkeypatch.setattr("f2edge.bundle.user_cache._PATIENCE", 0.1)
    with claimed(tmp_path), claimed(tmp_path) as mine:
        assert not mine


def test_a_library_sees_only_what_it_left(tmp_path: Path) -> None:
    """A file that has changed, and all beside it, is gone before the library looks; what is whole stays."""
    blob, nested = tmp_path / "graph.blob", tmp_path / "kernels" / "kernel"

    def make() -> None:
        with kept_whole(tmp_path) as usable:
            assert usable
            assert not blob.exists()
            assert not nested.exists()
            nested.parent.mkdir(exist_ok=True)
            blob.write_bytes(b"graph")
            nested.write_bytes(b"kernel")

    make()
    for spoil in (
        lambda: blob.write_bytes(b"grapi"),
        nested.unlink,
        (tmp_path / "stranger").touch,
        (tmp_path / SEAL).unlink,
        lambda: (tmp_path / SEAL).write_text("[]"),
    ):
        with kept_whole(tmp_path):
            assert (blob.read_bytes(), nested.read_bytes()) == (b"graph", b"kernel")
        spoil()
        make()


def test_a_library_that_fails_leaves_nothing_to_trust(tmp_path: Path) -> None:
    """What it has written until then is removed at the next start."""

    def fail() -> None:
        with kept_whole(tmp_path):
            (tmp_path / "graph.blob").write_bytes(b"half")
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        fail()
    with kept_whole(tmp_path) as usable:
        assert usable
        assert not (tmp_path / "graph.blob").exists()


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HOME, and no entry in the list of users: nothing is kept, and nothing fails."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("F2EDGE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert usable_directory("blobs", "key") is None
    assert not write_whole(user_cache() / "verdicts" / "verdict.json", b"{}")
    clear_oldest("blobs", 0)
