"""Every program in ``examples/`` runs, prints what it promises, and stays short."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import f2edge
from tests.support.videos import save_video

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
LONGEST = 30


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Write a picture of noise and return its path."""
    path = tmp_path / "photo.png"
    save_noise(path, 0)
    return path


def save_noise(path: Path, seed: int) -> None:
    """Write a picture that differs from seed to seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (70, 110, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def run(name: str, *arguments: object) -> str:
    """Run an example as its docstring says, and return what it printed; a warning is an error."""
    command = [sys.executable, "-X", "utf8", "-W", "error", EXAMPLES / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, encoding="utf-8", timeout=600)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[str]]:
    """Run an example in this process, and return the lines that it printed."""

    def run(name: str, *arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_every_example_is_short_and_says_how_to_run_it() -> None:
    """An example has at most 30 lines, its docstring has the command, and the README links to it."""
    assert len(PROGRAMS) == 6
    readme = (EXAMPLES / "README.md").read_text("utf-8")
    for path in PROGRAMS:
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= LONGEST, path.name
        assert f"\npython examples/{path.name} " in text.split('"""')[1]
        assert f"[{path.name}]({path.name})" in readme


def test_ask(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """``ask.py`` prints the answer and saves a drawing of the picture's size."""
    drawn = tmp_path / "boxes.png"
    printed = run("ask.py", tiny_bundle, photo, "od", drawn)
    assert printed.startswith(repr(f2edge.load(tiny_bundle).run(photo, "od")))
    with Image.open(drawn) as picture:
        assert picture.size == (110, 70)


def test_stream(tiny_bundle: Path, photo: Path) -> None:
    """``stream.py`` prints the whole greedy answer."""
    expected = f2edge.load(tiny_bundle).run(photo, "more_detailed_caption", num_beams=1)
    assert run("stream.py", tiny_bundle, photo).strip() == expected.plain_text


def test_many_questions(tiny_bundle: Path, photo: Path) -> None:
    """``many_questions.py`` prints one line for each of the five questions."""
    lines = run("many_questions.py", tiny_bundle, photo).splitlines()
    tasks = [re.match(r"\d+ ms: Result\('(<\w+>)', ", line) for line in lines]
    assert [task[1] for task in tasks if task] == [
        *("<CAPTION>", "<OD>", "<CAPTION_TO_PHRASE_GROUNDING>", "<REGION_TO_CATEGORY>", "<OCR_WITH_REGION>")
    ]


def test_camera(tiny_bundle: Path, tmp_path: Path) -> None:
    """``camera.py`` answers about a frame that differs from the one before, and not about one that does not."""
    dark, light = (np.full((48, 64, 3), level, np.uint8) for level in (30, 200))
    path = save_video(tmp_path / "clip.mp4", [dark, dark, light, light])
    lines = run("camera.py", tiny_bundle, path, "od").splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["0.0 s, 0 frames dropped", "0.2 s, 0 frames dropped"]


def test_a_folder_is_watched(
    tiny_bundle: Path, tmp_path: Path, run_here: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watcher answers a picture that is there and one that is written in two pieces, and reports a damaged one.

    The folder changes only while the watcher sleeps, and each sleep takes one second of its clock.
    """
    folder = tmp_path / "pictures"
    folder.mkdir()
    save_noise(folder / "first.png", 1)
    (folder / "notes.txt").write_text("not a picture")
    save_noise(tmp_path / "late.jpg", 2)
    late = (tmp_path / "late.jpg").read_bytes()
    events = {3: ("late.jpg", late[: len(late) // 2]), 4: ("late.jpg", late), 7: ("damaged.jpeg", b"damaged")}
    seconds = iter(range(1, 100))

    def sleep(_duration: float) -> None:
        clock.append(next(seconds))
        if clock[-1] in events:
            name, data = events[clock[-1]]
            (folder / name).write_bytes(data)

    clock = [0]
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[-1])
    first, second, third = map(json.loads, run_here("folder_watcher.py", tiny_bundle, folder, 5))
    model = f2edge.load(tiny_bundle)
    for line, name in ((first, "first.png"), (second, "late.jpg")):
        assert line == {"picture": name, "caption": model.run(folder / name, "caption").plain_text}
    assert third["picture"] == "damaged.jpeg"
    assert "damaged.jpeg is not a picture" in third["error"]
    assert clock[-1] == 8 + 5  # seen at 7, whole at 8, then five seconds without a picture


@pytest.mark.usefixtures("exported")
def test_compile_from_python(tiny_checkpoint: Path, tmp_path: Path, run_here: Callable[..., list[str]]) -> None:
    """``compile_from_python.py`` prints the steps as they begin, and its bundle passes the verification."""
    output = tmp_path / "tiny.cpu"
    lines = run_here("compile_from_python.py", tiny_checkpoint, output)
    assert lines[0] == "load"
    assert lines[-1].endswith("verified: True")
    assert f2edge.open_bundle(output).generation.max_new_tokens == 64
