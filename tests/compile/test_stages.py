"""Finished stages are reused if all their inputs are the same, and never otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from f2edge.compile import stages as module
from f2edge.compile.stages import Stages, open_stages
from f2edge.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(text: str) -> Callable[[Path], None]:
    """Return a function that fills a stage's directory with a text."""

    def make(directory: Path) -> None:
        with (directory / "file").open("a") as file:
            file.write(text)

    return make


def interrupted(stages: Stages) -> None:
    """Run one stage, then raise KeyboardInterrupt as if the user had stopped the build."""
    stages.run("export", {}, write("x"))
    raise KeyboardInterrupt


def test_the_same_inputs_reuse_the_stage(tmp_path: Path) -> None:
    """A second run with the same inputs returns the first directory with its content."""
    stages = Stages(tmp_path)
    first = stages.run("export", {"weights": "a"}, write("x"))
    assert stages.run("export", {"weights": "a"}, write("y")) == first
    assert (first / "file").read_text() == "x"


def test_other_inputs_tools_or_code_make_another_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the inputs, the stage, the tools or the code gives a new directory each."""
    stages = Stages(tmp_path)
    places = {stages.run("export", {"weights": "a"}, write("x"))}
    places.add(stages.run("export", {"weights": "b"}, write("x")))
    places.add(stages.run("record", {"weights": "a"}, write("x")))
    monkeypatch.setattr(module, "tool_versions", lambda: {"torch": "0"})
    places.add(stages.run("export", {"weights": "a"}, write("x")))
    monkeypatch.setattr(module, "code_digest", lambda: "changed")
    places.add(stages.run("export", {"weights": "a"}, write("x")))
    assert len(places) == 5


@pytest.mark.parametrize("resumes", [True, False])
def test_an_interrupted_stage(resumes: bool, tmp_path: Path) -> None:
    """An interrupted stage starts again, or resumes if it can; a half-done stage never counts as done."""
    stages = Stages(tmp_path)

    def break_off(directory: Path) -> None:
        (directory / "file").write_text("half ")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.run("record", {}, break_off, resumes=resumes)
    place = stages.run("record", {}, write("done"), resumes=resumes)
    assert (place / "file").read_text() == ("half done" if resumes else "done")
    assert list(tmp_path.iterdir()) == [place]


def test_the_stages_directory_is_removed_when_the_build_ends(tmp_path: Path) -> None:
    """It is kept only after an interrupt of a long build; then the notice names it and the next build reuses it."""
    notes: list[str] = []
    with open_stages(tmp_path / "b", None, keep=True, notice=notes.append) as stages:
        stages.run("export", {}, write("x"))
    with pytest.raises(OSError, match="full"), open_stages(tmp_path / "b", None, keep=True, notice=notes.append):
        raise OSError("full")
    with pytest.raises(SystemExit), open_stages(tmp_path / "b", None, keep=False, notice=notes.append):
        raise SystemExit
    assert (notes, list(tmp_path.iterdir())) == ([], [])
    with pytest.raises(KeyboardInterrupt), open_stages(tmp_path / "b", None, keep=True, notice=notes.append) as stages:
        interrupted(stages)
    (place,) = stages.directory.iterdir()
    assert str(place.parent) in notes[0]
    with open_stages(tmp_path / "b", None, keep=True, notice=notes.append) as stages:
        assert stages.run("export", {}, write("y")).name == place.name
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_the_users_stays(tmp_path: Path) -> None:
    """A directory that the user names is created, and kept for other builds."""
    with open_stages(tmp_path / "b", tmp_path / "kept", keep=False, notice=print) as stages:
        stages.run("export", {}, write("x"))
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_stage_whose_files_have_changed_is_made_again(tmp_path: Path) -> None:
    """One bit, a file too few or one too many: what is computed from is what was made."""
    stages = Stages(tmp_path)
    place = stages.run("export", {}, write("x"))
    for spoil in (
        lambda: (place / "file").write_text("y"),
        (place / "file").unlink,
        (place / "other").touch,
        lambda: (place / "sha256.json").write_text("{"),
    ):
        spoil()
        assert stages.run("export", {}, write("x")) == place
        assert (place / "file").read_text() == "x"
        assert not (place / "other").exists()


def test_stages_that_are_a_file(tmp_path: Path) -> None:
    """The message names the place of the stages, not that of the bundle."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(CompileError, match=r"`stages` .*file is not a directory"),
        open_stages(tmp_path / "bundle", tmp_path / "file", keep=False, notice=print),
    ):
        pytest.fail("the block must not be entered")
