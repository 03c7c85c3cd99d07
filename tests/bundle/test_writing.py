"""A bundle is written completely or not at all, and only a bundle is ever replaced."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from f2edge.bundle import writing as atomic
from f2edge.bundle.writing import MANIFEST, new_bundle_directory, refuse_occupied, whole_file
from f2edge.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

BUNDLE = '{"format_version": 1}'


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a bundle that exists already."""
    path = tmp_path / "bundle"
    path.mkdir()
    (path / MANIFEST).write_text(BUNDLE)
    (path / "old").touch()
    return path


@pytest.fixture(scope="module")
def dead() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(directory: Path) -> set[str]:
    """Return the names in a directory, including hidden ones."""
    return {path.name for path in directory.iterdir()}


def attempt(destination: Path, error: BaseException, *, force: bool = False) -> None:
    """Write a file, then fail with the given error."""
    with new_bundle_directory(destination, force=force) as partial:
        (partial / "new").touch()
        raise error


def test_the_bundle_appears_at_the_end(tmp_path: Path) -> None:
    """Until the block ends, only the partial directory exists, beside the destination on the same file system."""
    destination = tmp_path / "bundle"
    with new_bundle_directory(destination) as partial:
        assert partial.parent == tmp_path
        (partial / "file").write_text("x")
        assert not destination.exists()
    assert (destination / "file").read_text() == "x"
    assert names(tmp_path) == {"bundle"}


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    """After an error, not even the partial directory is left."""
    with pytest.raises(KeyboardInterrupt):
        attempt(tmp_path / "bundle", KeyboardInterrupt())
    assert names(tmp_path) == set()


def test_an_error_leaves_the_old_bundle(old: Path) -> None:
    """After an error the old bundle is unchanged, even with ``force``."""
    with pytest.raises(ZeroDivisionError):
        attempt(old, ZeroDivisionError(), force=True)
    assert names(old) == {MANIFEST, "old"}
    assert names(old.parent) == {"bundle"}


def test_an_old_bundle_needs_force(old: Path) -> None:
    """An existing bundle is refused before anything is written; with ``force`` it is replaced as a whole."""
    with pytest.raises(BundleError, match="`force` replaces it"), new_bundle_directory(old):
        pytest.fail("the block must not be entered")
    assert names(old.parent) == {"bundle"}
    with new_bundle_directory(old, force=True) as partial:
        (partial / "new").touch()
        assert names(old) == {MANIFEST, "old"}
    assert names(old) == {"new"}
    assert names(old.parent) == {"bundle"}


@pytest.mark.parametrize("force", [False, True])
def test_only_a_bundle_or_an_empty_directory_is_replaced(force: bool, old: Path, tmp_path: Path) -> None:
    """Files, links, other directories and other manifests are kept, with or without ``force``."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(old)
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for name, manifest in (
        ("folder", None),
        ("extension", '{"manifest_version": 3}'),
        ("text", "format_version"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").touch()
        if manifest:
            (tmp_path / name / MANIFEST).write_text(manifest)
    for name in ("file", "link", "dangling", "folder", "extension", "text"):
        with pytest.raises(BundleError, match="choose another place"):
            refuse_occupied(tmp_path / name, force=force)
        with pytest.raises(BundleError), new_bundle_directory(tmp_path / name, force=force):
            pytest.fail("the block must not be entered")
    (tmp_path / "empty").mkdir()
    refuse_occupied(tmp_path / "empty", force=force)
    with new_bundle_directory(tmp_path / "empty", force=force) as partial:
        (partial / "new").touch()
    assert names(tmp_path / "empty") == {"new"}


def test_a_directory_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """A directory created while the bundle was compiled, which takes minutes, is kept."""
    destination = tmp_path / "bundle"

    def compile_slowly() -> None:
        with new_bundle_directory(destination):
            destination.mkdir()
            (destination / "precious").touch()

    with pytest.raises(BundleError, match="is not empty and is not a bundle"):
        compile_slowly()
    assert names(destination) == {"precious"}
    assert names(tmp_path) == {"bundle"}


def test_directories_above_are_made(tmp_path: Path) -> None:
    """At the start; after an error those that were missing are gone again, unless something else is in them."""
    with new_bundle_directory(tmp_path / "a" / "b" / "bundle") as partial:
        (partial / "file").touch()
    assert (tmp_path / "a" / "b" / "bundle" / "file").is_file()
    with pytest.raises(KeyboardInterrupt):
        attempt(tmp_path / "a" / "c" / "d" / "bundle", KeyboardInterrupt())
    assert names(tmp_path / "a") == {"b"}


def test_a_file_in_place_of_a_directory(tmp_path: Path) -> None:
    """It is refused before any work is done."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "bundle", tmp_path / "file" / "a" / "bundle"):
        with pytest.raises(BundleError, match=r"bundle cannot be made: .*file: not a directory"):
            refuse_occupied(path, force=True)


@pytest.mark.parametrize("name", ["bundle", "bundle[1]", "b*"])
def test_leftovers_of_killed_attempts_are_removed(name: str, dead: int, tmp_path: Path) -> None:
    """Leftovers of dead processes and of this process id go; those of living processes and other names stay."""
    left = {
        f".{name}.partial-{dead}",
        f".{name}.partial-{os.getpid()}",
        f".{name}.old-{dead}",
        f".{name}.partial-{9**40}",
    }
    kept = {
        f".{name}.partial-{os.getppid()}",
        f".{name}.partial-x",
        f".{name}x.partial-{dead}",
        f"{name}.partial-{dead}",
    }
    for directory in left | kept:
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "file").touch()
    with new_bundle_directory(tmp_path / name):
        pass
    assert names(tmp_path) == {name, *kept}


def test_on_windows_leftovers_are_removed_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There ``os.kill`` would end the process, so leftovers of other processes are removed after a day."""
    monkeypatch.setattr(atomic, "_WINDOWS", True)
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("os.kill was called"))
    for name, age in (("1", 0), ("2", 25 * 3600), (os.getpid(), 0)):
        path = tmp_path / f".bundle.partial-{name}"
        path.mkdir()
        os.utime(path, (time.time() - age,) * 2)
    with new_bundle_directory(tmp_path / "bundle"):
        pass
    assert names(tmp_path) == {"bundle", ".bundle.partial-1"}


def test_a_bundle_moved_aside_by_a_killed_attempt_comes_back(dead: int, old: Path) -> None:
    """If an attempt was killed between its two renames and the next one fails, the old bundle is restored."""
    old.rename(old.with_name(f".{old.name}.old-{dead}"))
    with pytest.raises(ZeroDivisionError), new_bundle_directory(old, force=True):
        raise ZeroDivisionError
    assert names(old) == {MANIFEST, "old"}
    assert names(old.parent) == {"bundle"}


def test_a_failed_rename_puts_the_old_bundle_back(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the last rename fails, the error is a BundleError and the old bundle is restored."""
    rename = type(old).rename

    def fail(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(type(old), "rename", fail)
    with pytest.raises(BundleError, match="No space left on device"), new_bundle_directory(old, force=True):
        pass
    assert names(old) == {MANIFEST, "old"}
    assert names(old.parent) == {"bundle"}


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    """An OSError inside the block becomes a BundleError of one line."""
    with pytest.raises(BundleError, match=r"bundle cannot be written: No space left on device"):
        attempt(tmp_path / "bundle", OSError(28, "No space left on device"))
    assert names(tmp_path) == set()


def test_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``.`` has no name of its own; if it is empty, it is replaced all the same."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with new_bundle_directory(type(tmp_path)(".")) as partial:
        (partial / "file").touch()
    assert names(tmp_path / "here") == {"file"}
    assert names(tmp_path) == {"here"}


def test_a_file_is_replaced_at_the_end_of_the_block(tmp_path: Path) -> None:
    """Inside the block the old file is there; after the block only the new one is."""
    path = tmp_path / "file"
    path.write_text("old")
    with whole_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"file": "new"}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """After an error in the block, only the old file is there."""
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"file": "old"}


@pytest.mark.parametrize("there", ["a file", "nothing", "a chain"])
def test_a_link_stays_and_its_target_gets_the_content(there: str, tmp_path: Path) -> None:
    """Whether the target is there or not; nothing is left beside the link or beside the target."""
    target, link = tmp_path / "targets" / "file", tmp_path / "links" / "link"
    link.parent.mkdir()
    target.parent.mkdir()
    link.symlink_to(target)
    if there == "a file":
        target.write_text("old")
    if there == "a chain":
        (link.parent / "second").symlink_to("link")
        link = link.parent / "second"
    with whole_file(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert names(target.parent) == {"file"}
    assert all(path.is_symlink() for path in link.parent.iterdir())


def test_a_failed_write_through_a_link(tmp_path: Path) -> None:
    """Link and target stay as they were."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")

    def fail() -> None:
        with whole_file(tmp_path / "link") as partial:
            partial.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert (tmp_path / "link").read_text() == "old"
    assert names(tmp_path) == {"file", "link"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    """Its reader gets the content, and it is a pipe afterwards."""
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit((tmp_path / "pipe").read_text)
        with whole_file(tmp_path / "pipe") as partial:
            partial.write_text("new")
        assert reader.result(timeout=60) == "new"
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == {"pipe"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("linked", [True, False])
def test_a_device_is_written_into(linked: bool, tmp_path: Path) -> None:
    """The device says that it is full, and is a device afterwards; so does a link to it."""
    path = type(tmp_path)("/dev/full")
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"

    def write() -> None:
        with whole_file(path) as partial:
            partial.write_text("new")

    with pytest.raises(OSError, match="No space left"):
        write()
    assert type(tmp_path)("/dev/full").is_char_device()
    assert path.is_symlink() == linked


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    """A directory, a socket, and a link that leads to itself."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name in ("directory", "loop", "socket"):
            with pytest.raises(OSError, match=r"directory|regular file|symbolic links"), whole_file(tmp_path / name):
                pytest.fail("the block must not be entered")
    assert names(tmp_path) == {"directory", "loop", "socket"}


def test_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    """Who could not read the old content cannot read the new one."""
    path = tmp_path / "file"
    path.touch(mode=0o600)
    with whole_file(path) as partial:
        partial.write_text("new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_directories_of_a_file_are_made(tmp_path: Path) -> None:
    """All that are missing above it."""
    with whole_file(tmp_path / "a" / "b" / "file") as partial:
        partial.write_text("new")
    assert (tmp_path / "a" / "b" / "file").read_text() == "new"
