"""The command line where stdin, stdout, stderr or the home are not what they usually are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.support.command import Outcome, f2edge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell of Unix")
STRANGER = ("unshare", "--user", "--map-user=54321")
"""Runs a command as a user whom no list knows."""
PLAIN = """
import logging, sys
import f2edge
from PIL import Image
print(f2edge.load(sys.argv[1]).run(Image.new("RGB", (64, 64), "red"), "od", max_new_tokens=4).task)
assert not logging.getLogger().handlers
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture."""
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def in_shell(redirection: str, *arguments: object) -> Outcome:
    """Run a command with streams redirected by a shell."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "f2edge", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)  # noqa: S603
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", "2>&- <&-", "<&-"])
def test_an_answer_without_stderr(redirection: str, tiny_bundle: Path, photo: Path) -> None:
    """A stderr or a stdin that is closed or full costs no answer, and neither does a message for it."""
    asked = ("run", tiny_bundle, photo, photo, "--task", "caption", "--max-new-tokens", 2)
    outcome = in_shell(redirection, *asked, "--json")
    assert outcome.code == 0, outcome
    assert [json.loads(line)["image"] for line in outcome.stdout.splitlines()] == [str(photo)] * 2


def test_an_error_without_stderr() -> None:
    """The exit code still tells."""
    assert in_shell("2>&-", "inspect", "/nowhere") == Outcome(1, "", "")
    assert in_shell("2>&-", "inspect").code == 2


@pytest.mark.parametrize("command", [["targets"], ["targets", "--json"], ["--help"], ["--version"]])
def test_no_success_without_stdout(command: list[str]) -> None:
    """Whoever cannot get the answer is told so, in one line."""
    assert "stdout is closed" in in_shell(">&-", *command).error
    assert "No space left" in in_shell(">/dev/full", *command).error


def test_files_do_not_take_the_place_of_stderr(tmp_path: Path) -> None:
    """With stderr closed, a library that writes to it must not write into a file that was opened since."""
    program = (
        "import os, sys\nfrom f2edge.cli.streams import prepare_streams\nprepare_streams()\n"
        "file = open(sys.argv[1], 'w')\nos.write(2, b'a message of a library')\n"
    )
    path = tmp_path / "file"
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", program, str(path)]
    subprocess.run(command, check=True)  # noqa: S603
    assert path.read_text() == ""


def answer(bundle: Path, home: Mapping[str, str], as_user: Sequence[str] = ()) -> Outcome:
    """Let a program answer from a bundle with these variables as all that tells of a home."""
    names = ("HOME", "F2EDGE_CACHE", "XDG_CACHE_HOME", "CI")
    environment = {name: value for name, value in os.environ.items() if name not in names} | home
    command = [*as_user, sys.executable, "-c", PLAIN, str(bundle)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("bundle", ["tiny_bundle", "tiny_onnx_bundle"])
def test_a_home_that_cannot_be_written(bundle: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The answer comes, without a cache and without a word; logging stays as the application has set it up."""
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "home", Path("/proc/self")):
        outcome = answer(request.getfixturevalue(bundle), {"HOME": str(home)})
        assert outcome == Outcome(0, "<OD>\n", ""), home


@pytest.mark.parametrize("bundle", ["tiny_bundle", "tiny_onnx_bundle"])
def test_a_user_without_a_home(bundle: str, request: pytest.FixtureRequest) -> None:
    """No HOME, and a user whom the system does not know, as in many containers."""
    path = request.getfixturevalue(bundle)
    if shutil.which("unshare") is None or subprocess.run([*STRANGER, "true"], check=False).returncode:  # noqa: S603
        pytest.skip("unshare cannot give this process another user here")
    assert answer(path, {}, STRANGER) == Outcome(0, "<OD>\n", "")


def test_outputs_keep_devices_pipes_and_links(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """A page or a drawing goes through a link and into directories that are made; a full device says so and stays."""
    bench = ("bench", tiny_bundle, "--runs", 1, "--new-tokens", 1, "--json", "--html")
    run = ("run", tiny_bundle, photo, "--task", "od", "--max-new-tokens", 2, "--draw")
    for command, name in ((bench, "page.html"), (run, "boxes.png")):
        target, link = tmp_path / "deep" / "er" / name, tmp_path / name
        link.symlink_to(target)
        assert f2edge(*command, link).code == 0
        assert link.is_symlink()
        assert target.stat().st_size > 0
        link.unlink()
        link.symlink_to("/dev/full")
        assert "No space left" in f2edge(*command, link).stderr
        assert Path("/dev/full").is_char_device()
        assert link.is_symlink()
        shutil.rmtree(target.parent)


def test_a_page_on_stdout(tiny_bundle: Path, tmp_path: Path) -> None:
    """``--html /dev/stdout`` adds the page to what is printed, also if stdout is a file."""
    out = tmp_path / "out"
    with out.open("w") as stdout:
        command = [sys.executable, "-m", "f2edge", "bench", tiny_bundle, "--runs", "1", "--new-tokens", "1", "--json"]
        subprocess.run([*command, "--html", "/dev/stdout"], stdout=stdout, stderr=subprocess.DEVNULL, check=True)  # noqa: S603
    first, page = out.read_text().split("\n", 1)
    assert json.loads(first)["runs"] == 1
    assert page.startswith("<!DOCTYPE html>")
