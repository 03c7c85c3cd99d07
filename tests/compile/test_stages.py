"""Finished stages are reused when all that went into them is the same, and never when anything is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from f2edge.compile import stages as module
from f2edge.compile.stages import Stages, open_stages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(text: str) -> Callable[[Path], None]:
    """What fills a stage's directory."""

    def make(directory: Path) -> None:
        with (directory / "file").open("a") as file:
            file.write(text)

    return make


def interrupted(stages: Stages) -> None:
    """One stage is done, and then the user has enough."""
    stages.run("export", {}, write("x"))
    raise KeyboardInterrupt


def test_the_same_inputs_are_not_worked_on_twice(tmp_path: Path) -> None:
    """The directory is the one of the first time, and holds what it held."""
    stages = Stages(tmp_path)
    first = stages.run("export", {"weights": "a"}, write("x"))
    assert stages.run("export", {"weights": "a"}, write("y")) == first
    assert (first / "file").read_text() == "x"


def test_other_inputs_tools_or_code_are_another_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change by itself gives a directory of its own."""
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
    """It is done again from the start, or goes on where it can; what was half done is never taken for done."""
    stages = Stages(tmp_path)

    def break_off(directory: Path) -> None:
        (directory / "file").write_text("half ")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stages.run("record", {}, break_off, resumes=resumes)
    place = stages.run("record", {}, write("done"), resumes=resumes)
    assert (place / "file").read_text() == ("half done" if resumes else "done")
    assert list(tmp_path.iterdir()) == [place]


def test_what_is_beside_the_bundle_when_the_block_ends(tmp_path: Path) -> None:
    """Nothing, but after an interrupt of a long build: then it is named, and the next build finds it."""
    told: list[str] = []
    with open_stages(tmp_path / "b", None, keep=True, notice=told.append) as stages:
        stages.run("export", {}, write("x"))
    with pytest.raises(OSError, match="full"), open_stages(tmp_path / "b", None, keep=True, notice=told.append):
        raise OSError("full")
    with pytest.raises(SystemExit), open_stages(tmp_path / "b", None, keep=False, notice=told.append):
        raise SystemExit
    assert (told, list(tmp_path.iterdir())) == ([], [])
    with pytest.raises(KeyboardInterrupt), open_stages(tmp_path / "b", None, keep=True, notice=told.append) as stages:
        interrupted(stages)
    (place,) = stages.directory.iterdir()
    assert str(place.parent) in told[0]
    with open_stages(tmp_path / "b", None, keep=True, notice=told.append) as stages:
        assert stages.run("export", {}, write("y")).name == place.name
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_the_users_stays(tmp_path: Path) -> None:
    """It is created, and kept for other builds."""
    with open_stages(tmp_path / "b", tmp_path / "kept", keep=False, notice=print) as stages:
        stages.run("export", {}, write("x"))
    assert len(list((tmp_path / "kept").iterdir())) == 1
