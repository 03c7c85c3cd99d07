"""``f2edge run --draw``: where drawings are written, and the errors if they cannot be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.support.command import Outcome, f2edge


def run(bundle: Path, *arguments: object) -> Outcome:
    """Run the task od with a short answer."""
    return f2edge("run", bundle, *arguments, "--task", "od", "--max-new-tokens", 12)


def long_picture(path: Path, width: int, height: int) -> Path:
    """Write a plain picture of the given size in pixels and return its path."""
    Image.new("RGB", (width, height)).save(path)
    return path


def test_draw(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """The drawing of one picture is one file of the requested format, in the picture's own size."""
    assert run(tiny_bundle, photo, "--draw", tmp_path / "out.JPG").code == 0
    with Image.open(tmp_path / "out.JPG") as drawn:
        assert (drawn.size, drawn.format) == ((120, 90), "JPEG")
    assert [path.name for path in tmp_path.iterdir()] == ["out.JPG"]


def test_draw_several(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """The drawings of several pictures go into a directory; pictures with the same name do not overwrite each other."""
    out = tmp_path / "drawn"
    assert run(tiny_bundle, photo, photo, "--draw", out).code == 0
    assert sorted(path.name for path in out.iterdir()) == ["photo-2.png", "photo.png"]


def test_draw_one_into_a_directory(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """The drawing of one picture goes into an existing directory, whatever suffix the directory's name has."""
    folder = tmp_path / "folder.png"
    folder.mkdir()
    assert run(tiny_bundle, photo, "--draw", folder).code == 0
    assert [path.name for path in folder.iterdir()] == ["photo.png"]


def test_draw_refuses_bad_places(photo: Path, tmp_path: Path) -> None:
    """A destination that cannot take the drawing is refused before the bundle is opened (here it is missing)."""
    bundle = tmp_path / "none"
    assert "neither a directory nor" in run(bundle, photo, "--draw", "out.xyz").error
    assert "not a directory" in run(bundle, photo, "--draw", photo / "no" / "x.png").error
    assert "overwrite the picture" in run(bundle, photo, "--draw", photo).error
    assert "is a file" in run(bundle, photo, photo, "--draw", photo).error
    assert "name a directory" in run(bundle, photo, photo, "--draw", tmp_path / "boxes2.png").error
    assert list(tmp_path.iterdir()) == []


def test_no_directory_without_a_bundle(photo: Path, tmp_path: Path) -> None:
    """If the bundle cannot be opened, the directory for the drawings is not created."""
    assert "none" in run(tmp_path / "none", photo, photo, "--draw", tmp_path / "drawn").error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a directory that takes no files, whoever asks")
def test_draw_into_a_directory_that_takes_no_files(photo: Path, tmp_path: Path) -> None:
    """The error comes before the bundle is opened (here it is missing) and names the path that the user gave."""
    for place in ("/proc/self/x.png", "/proc/self"):
        assert run(tmp_path / "none", photo, "--draw", place).error.startswith("f2edge: /proc/self: ")


@pytest.mark.parametrize(("name", "width", "height"), [("y.webp", 20_000, 40), ("y.jpg", 70_000, 4)])
def test_picture_too_long_for_the_format(
    name: str, width: int, height: int, tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The answer is still printed; one line names the file and the remedy, and libjpeg prints nothing itself."""
    picture = long_picture(tmp_path / "long.png", width, height)
    outcome = run(tiny_bundle, picture, "--json", "--draw", tmp_path / name)
    assert outcome.json["task"] == "<OD>"
    assert str(tmp_path / name) in outcome.error
    assert "name a file that ends in .png" in outcome.error
    assert capfd.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["long.png"]


def test_one_failed_drawing_keeps_the_others(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """A failed drawing is named; all answers and the other drawings are written; the exit code is 1."""
    second = long_picture(tmp_path / "second.png", 50, 40)
    blocked = tmp_path / "drawn" / "photo.png"
    blocked.mkdir(parents=True)
    outcome = run(tiny_bundle, photo, second, "--json", "--draw", tmp_path / "drawn")
    assert outcome.error.startswith(f"f2edge: {blocked}: Is a directory")
    assert outcome.stdout.count("\n") == 2
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["photo.png", "second.png"]
