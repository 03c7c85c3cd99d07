"""Which pictures INT8 is calibrated on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from f2edge.calibration.pictures import select_pictures
from f2edge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures, two of them below, a text file and a picture that was cut off."""
    (tmp_path / "below").mkdir()
    for name in ("a.png", "b.jpg", "c.PNG", "d.webp", "below/e.png", "below/f.bmp"):
        Image.new("RGB", (8, 6), "red").save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:200])
    return tmp_path


def test_a_seed_gives_the_same_pictures_each_time(folder: Path) -> None:
    """And another seed others; every readable one where there are few."""
    chosen = select_pictures(folder, 3, seed=1).pictures
    assert chosen == select_pictures(folder, 3, seed=1).pictures
    assert len(set(chosen)) == 3
    assert any(select_pictures(folder, 3, seed=seed).pictures != chosen for seed in range(2, 6))


def test_unreadable_pictures_are_named_and_replaced(folder: Path) -> None:
    """Other files are no pictures and are not mentioned."""
    selection = select_pictures(folder, 100)
    assert len(selection.pictures) == 6
    assert [path.name for path in selection.unreadable] == ["broken.jpg"]


@pytest.mark.parametrize("what", ["missing", "empty", "broken alone"])
def test_nothing_to_calibrate_on_is_one_clear_line(what: str, tmp_path: Path) -> None:
    """Each says which directory, and what is wrong with it."""
    directory = tmp_path / "pictures"
    if what != "missing":
        directory.mkdir()
    if what == "broken alone":
        (directory / "a.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"pictures (is not a directory|holds no readable picture)"):
        select_pictures(directory, 8)
