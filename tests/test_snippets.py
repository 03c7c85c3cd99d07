"""The code in README.md and docs/ works: a test runs each page from top to bottom, on a tiny checkpoint."""

from __future__ import annotations

import re
from collections import Counter
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from scenes import make_scene, write_scenes

import f2edge.compile.build as compiling
from f2edge.cli import cli
from f2edge.compile.stages import open_stages
from tests.support.command import f2edge
from tests.support.snippets import NOT_RUN, Block, blocks, commands
from tests.support.videos import save_video

ROOT = Path(__file__).resolve().parent.parent
PAGES = {page.name: list(blocks(page)) for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
WITH_CODE = [name for name, page in PAGES.items() if any(block.language in {"python", "sh"} for block in page)]

OUTPUT = ("", "text", "json", "console")
"""Languages of blocks that show output, data or drawings."""

REASONS = {
    "calibrates on pictures of yours": 3,
    "needs TensorRT for RTX": 1,
    "needs a Jetson": 2,
    "needs a camera": 1,
    "needs a cluster": 1,
    "needs an Intel GPU": 3,
    "needs an object store": 1,
    "downloads a pipeline": 1,
    "needs an Intel NPU": 2,
    "needs an NVIDIA GPU": 3,
    "needs the data set's file": 2,
    "needs a running server": 5,
    "needs two bundles and a data set": 3,
    "sets up the shell of the reader": 3,
    "the adapter is yours": 1,
    "takes a quarter of an hour": 1,
    "takes most of an hour": 1,
    "needs the adapter that was trained": 1,
    "trains for minutes": 1,
}
"""The reasons not to run a block, each with the number of its blocks.  Adding a reason is a decision to make here."""

SET_UP = (
    r"(.*/)?pip install( -e)?( \S*?(\[(?P<extras>[\w,]+)\])?)+",
    r"(.*/)?python3? (?P<script>(demo|benchmarks|examples)/(\w+/)?\w+\.py)( .*)?",
    r"make (?P<target>[\w-]+)",
    r"git clone \S+",
    r"cd \S+",
    r"python3 -m venv \S+",
    r"\. \S+/bin/activate",
)
"""Commands of other programs: the test does not run them, but the files and extras that they name must exist."""


@pytest.fixture
def _reader_directory(
    tmp_path: Path, tiny_checkpoint: Path, tiny_bundle: Path, stages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work in a reader's directory, with checkpoints, a bundle and pictures by the names that pages use.

    Compilations there share the export of the checkpoint.
    """
    for name in ("microsoft/Florence-2-base", "demo/checkpoint"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).symlink_to(tiny_checkpoint)
    (tmp_path / "florence-2-base.cpu").symlink_to(tiny_bundle)
    write_scenes(tmp_path / "scenes", 8, 2000)
    street = make_scene(2000, 7).image
    street.save(tmp_path / "street.jpg")
    save_video(tmp_path / "street.mp4", [np.asarray(street)] * 6)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compiling, "open_stages", lambda place, _, **rest: open_stages(place, stages, **rest))


@pytest.mark.usefixtures("_reader_directory")
@pytest.mark.parametrize("page", WITH_CODE)
def test_code_works(page: str) -> None:
    """The Python blocks of a page run in order in one namespace, and every command ends with exit code 0."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in PAGES[page]:
        if block.language == "python":
            program = compile(block.code, block.place, "exec")
            if not block.not_run:
                exec(program, names)  # noqa: S102 - it is our own
        elif block.language == "sh":
            for words in commands(block):
                check_command(words, block)


def check_command(words: list[str], block: Block) -> None:
    """Run a command of f2edge, or only parse it if its block is not run; check that other commands are known."""
    if words[0] != "f2edge":
        assert block.not_run or is_set_up(" ".join(words)), f"{block.place}: {words}"
    elif block.not_run:
        parse(words[1:])
    else:
        remove_bundle(words)
        outcome = f2edge(*words[1:])
        assert outcome.code == 0, (block.place, words, outcome.stderr)


def is_set_up(line: str) -> bool:
    """Return whether a page may show this command of another program beside commands of f2edge."""
    matches = [match for pattern in SET_UP if (match := re.fullmatch(pattern, line))]
    named = {kind: name for match in matches for kind, name in match.groupdict().items() if name}
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return (
        bool(matches)
        and {*named.get("extras", "").split(",")} <= {"", *metadata("f2edge").get_all("Provides-Extra", [])}
        and (ROOT / named.get("script", "")).exists()
        and ("target" not in named or re.search(rf"^{named['target']}:", makefile, re.MULTILINE) is not None)
    )


def parse(arguments: list[str]) -> None:
    """Have click read the arguments of a command that is not run.

    Raises:
        click.UsageError: there is no such command, or one of its arguments is wrong.
    """
    parent = click.Context(cli, info_name="f2edge")
    name, command, rest = cli.resolve_command(parent, arguments)
    assert name
    assert command
    command.make_context(name, rest, parent)


def remove_bundle(words: list[str]) -> None:
    """Remove the prepared bundle that the page compiles itself."""
    if words[1] == "compile" and (output := Path(words[words.index("-o") + 1])).is_symlink():
        output.unlink()


def test_every_block_is_known() -> None:
    """Every block is code that a test runs, output, or a Sphinx directive, so that no code goes untested."""
    languages = {block.language for page in PAGES.values() for block in page}
    assert {language for language in languages if not language.startswith("{")} - {"python", "sh", *OUTPUT} == set()
    assert {"python", "sh"} <= {block.language for block in PAGES["README.md"]}


def test_reasons_not_to_run_are_few() -> None:
    """Every block that is not run has one of the reasons above, and every such comment belongs to a block."""
    reasons = Counter(block.not_run for page in PAGES.values() for block in page if block.not_run)
    assert reasons == REASONS
    texts = [page.read_text("utf-8") for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))]
    assert sum(text.count(NOT_RUN) for text in texts) == reasons.total()


def test_blocks_of_a_page(tmp_path: Path) -> None:
    """A block has its language, line and reason; a fence inside a longer fence is text."""
    page = tmp_path / "page.md"
    page.write_text("a\n\n```python\nx = 1\n```\n\n<!-- not run: why -->\n\n````sh\n```\n````\nb\n~~~\nc\n~~~\n")
    page_blocks = list(blocks(page))
    assert [(block.place, block.language, block.not_run) for block in page_blocks] == [
        ("page.md:3", "python", ""),
        ("page.md:9", "sh", "why"),
        ("page.md:13", "", ""),
    ]
    assert [block.code.splitlines()[-1] for block in page_blocks] == ["x = 1", "```", "c"]
    assert page_blocks[0].code.index("x") == 3


def test_commands_of_a_block() -> None:
    """Comments are dropped, continued lines joined, quoted words kept together; two commands in a line are refused."""
    block = Block("p:1", "sh", "f2edge run b \\\n  --text 'a b'  # c\n\n# d\npip install '.[e]'", "")
    assert list(commands(block)) == [["f2edge", "run", "b", "--text", "a b"], ["pip", "install", ".[e]"]]
    for line in ("f2edge targets | head", "f2edge targets > a", "f2edge targets; f2edge devices"):
        with pytest.raises(ValueError, match="one command a line"):
            list(commands(Block("p:1", "sh", line, "")))


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("pip install .", True),
        ("pip install .[compile,onnx] f2edge-0.1.0-py3-none-any.whl[eval]", True),
        (".venv/bin/pip install -e .[dev]", True),
        ("pip install .[compile,frobnicate]", False),
        ("python demo/scenes.py OUT --count 1", True),
        ("python demo/gone.py", False),
        ("python examples/adapt/fine_tune.py CHECKPOINT FOLDER -o OUT", True),
        ("python examples/adapt/gone.py", False),
        ("make demo", True),
        ("make frobnicate", False),
        ("curl example.org", False),
    ],
)
def test_other_programs(line: str, known: bool) -> None:
    """Extras, scripts and make targets must exist, and unknown programs are refused."""
    assert is_set_up(line) == known


@pytest.mark.parametrize("line", ["frobnicate", "run bundle picture", "run b p --task od --num-beams 0", "targets x"])
def test_wrong_usage_is_noticed(line: str) -> None:
    """The arguments of a command that is not run are checked all the same."""
    parse(["run", "bundle", "picture", "--task", "od"])
    with pytest.raises(click.UsageError):
        parse(line.split())
