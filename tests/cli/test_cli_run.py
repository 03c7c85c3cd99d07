"""``f2edge run``: its answers, and one line of error for every wrong input."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from f2edge.cli import cli
from f2edge.cli.plain_text import answer_lines, remark
from f2edge.errors import LimitError
from f2edge.model import Florence2, load
from f2edge.result import Result
from f2edge.tasks.table import TASKS
from tests.support.command import Outcome, f2edge, f2edge_process

if TYPE_CHECKING:
    from pathlib import Path

KEYS = (
    *("image", "task", "text", "token_ids", "token_logprobs", "score", "result", "labels", "boxes", "quads"),
    *("polygons", "confidences", "scores", "calibrated", "truncated", "steps", "timings_ms"),
)
SHORT = ("--max-new-tokens", 12)


def run(bundle: Path, *arguments: object) -> Outcome:
    """Run a question with a short answer."""
    return f2edge("run", bundle, *arguments, *SHORT)


def test_json(tiny_bundle: Path, photo: Path) -> None:
    """With --json, the output is one line with the documented keys and the same answer as from Python."""
    outcome = run(tiny_bundle, photo, "--task", "od", "--num-beams", 2, "--json")
    assert (outcome.code, outcome.stderr, outcome.stdout.count("\n")) == (0, "", 1)
    printed = outcome.json
    assert tuple(printed) == KEYS
    expected = load(tiny_bundle).run(photo, "od", num_beams=2, max_new_tokens=12)
    assert (printed["image"], printed["task"], printed["text"]) == (str(photo), "<OD>", expected.text)
    assert tuple(printed["token_ids"]) == expected.token_ids
    assert printed["result"]["<OD>"]["labels"] == expected.answer["<OD>"]["labels"]
    assert np.array_equal(
        np.float32(printed["result"]["<OD>"]["bboxes"]), np.float32(expected.answer["<OD>"]["bboxes"])
    )
    assert all(len(str(number)) <= len("-1.2345678e-10") for box in printed["boxes"] for number in box)


def test_defaults_are_the_bundles(tiny_bundle: Path, photo: Path) -> None:
    """Without options, the bundle's generation settings apply: 3 beams, up to 80 tokens."""
    printed = f2edge("run", tiny_bundle, photo, "--task", "<CAPTION>", "--json").json
    assert tuple(printed["token_ids"]) == load(tiny_bundle).run(photo, "caption").token_ids


def test_structured(tiny_bundle: Path, photo: Path) -> None:
    """The options give the answers of Python; structure where there is none fails before the bundle is opened."""
    printed = run(tiny_bundle, photo, "--task", "od", "--label", "cat", "--label", "dog", "--json").json
    expected = load(tiny_bundle).run(photo, "od", labels=["cat", "dog"], max_new_tokens=12)
    assert tuple(printed["token_ids"]) == expected.token_ids
    assert set(printed["labels"]) <= {"cat", "dog"}
    printed = run(tiny_bundle, photo, "--task", "od", "--structured", "--json").json
    assert (
        tuple(printed["token_ids"]) == load(tiny_bundle).run(photo, "od", structured=True, max_new_tokens=12).token_ids
    )
    assert "leave --structured out" in run(photo.parent / "none", photo, "--task", "ocr", "--structured").error
    assert "leave --label out" in run(photo.parent / "none", photo, "--task", "ocr", "--label", "a").error


def test_text_is_plain(tiny_bundle: Path, photo: Path) -> None:
    """Stdout has the caption alone; a note that the caption was cut off goes to stderr."""
    outcome = run(tiny_bundle, photo, "--task", "caption")
    expected = load(tiny_bundle).run(photo, "caption", max_new_tokens=12)
    assert outcome.stdout == f"{expected.answer['<CAPTION>']}\n"
    assert outcome.stderr == f"{photo}: cut off after 12 tokens; --max-new-tokens allows more\n" * expected.truncated


def test_free_prompt_and_region(tiny_bundle: Path, photo: Path) -> None:
    """An empty task takes --text; a task about a region takes --region in pixels."""
    assert run(tiny_bundle, photo, "--task", "", "--text", "What colour?").code == 0
    assert run(tiny_bundle, photo, "--task", "region_to_ocr", "--region", "0,0,119.5,90").code == 0


def test_help_lists_the_tasks() -> None:
    """The help has one line for each task, with the input that the task needs."""
    lines = [line.split() for line in f2edge("run", "-h").stdout.splitlines()]
    needs = {"none": "none", "text": "--text", "region": "--region"}
    assert len(TASKS) == 15
    for task in TASKS.values():
        assert [task.name.strip("<>").lower(), needs[task.input]] in lines


def result(**fields: object) -> Result:
    """Return a result of object detection with the given fields."""
    return Result("<OD>", "", (2, 0, 2), (0.0, 0.0), 0.0, {"<OD>": {}}, **fields)  # type: ignore[arg-type]


def test_located_things_are_printed_as_lines() -> None:
    """Tabs separate label, coordinates and confidence; semicolons separate the polygons of one thing."""
    boxes = result(labels=("a\n cat", "dog"), boxes=((1, 2, 3, 4.25), (0, 0, 5, 5)), confidences=(0.5, 0.02129))
    assert answer_lines(boxes) == ["a cat\t1.0,2.0,3.0,4.2\t0.500", "dog\t0.0,0.0,5.0,5.0\t0.0213"]
    polygons = result(labels=("",), polygons=(((1, 2, 3, 4), (5, 6)),), confidences=(1.0,))
    assert answer_lines(polygons) == ["\t1.0,2.0,3.0,4.0;5.0,6.0\t1.00"]
    assert (answer_lines(result()), remark(result())) == ([], "nothing found")


def test_several_images(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """A bad picture among good ones is reported, the others are answered, and the exit code is 1."""
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    outcome = run(tiny_bundle, photo, bad, photo, "--task", "caption")
    assert outcome.code == 1
    assert [line.split("\t")[0] for line in outcome.stdout.splitlines()] == [str(photo), str(photo)]
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("f2edge: ")]
    assert len(errors) == 1
    assert str(bad) in errors[0]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--task", "odd"], "unknown task 'odd': did you mean od?"),
        (["--task", "caption_to_phrase_grounding"], "needs a text"),
        (["--task", "od", "--text", "cat"], "<OD> takes no text"),
        (["--task", "od", "--region", "1,2,3,4"], "<OD> takes no region"),
        (["--task", "region_to_ocr"], "needs one region"),
        (["--task", ""], "needs a text"),
        (["--task", "", "--text", "<OD>"], "the text holds <OD>, the name of a task; give it as --task: od"),
        (["--task", "open_vocabulary_detection", "--text", "<OCR> cat"], "give it as --task: ocr"),
    ],
)
def test_wrong_questions(photo: Path, arguments: list[str], line: str) -> None:
    """A wrong question is reported before the bundle is opened (here it is missing)."""
    assert line in run(photo.parent / "none", photo, *arguments).error


def test_questions_that_the_bundle_refuses(tiny_bundle: Path, photo: Path) -> None:
    """A prompt too long, too many tokens, a region outside the picture and an unknown device are refused."""
    assert "prompt has" in run(tiny_bundle, photo, "--task", "", "--text", "why " * 300).error
    assert "takes 1 to 80" in f2edge("run", tiny_bundle, photo, "--task", "od", "--max-new-tokens", 81).error
    line = run(tiny_bundle, photo, "--task", "region_to_ocr", "--region", "0,0,120,91").error
    assert "not an area inside the image of 120x90" in line
    assert str(photo) in line
    line = run(tiny_bundle, photo, "--task", "od", "--device", "XPU").error
    assert "no device XPU here; it has: CPU" in line
    assert line.endswith("--device CPU runs the bundle")


def test_a_picture_on_standard_input(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """The picture "-" comes from standard input, is drawn on, and may be named twice."""
    options = ["--task", "od", *map(str, SHORT), "--json", "--draw", str(tmp_path / "drawn")]
    outcome = CliRunner().invoke(cli, ["run", str(tiny_bundle), "-", "-", *options], input=photo.read_bytes())
    assert outcome.exit_code == 0, outcome.output
    first, second = map(json.loads, outcome.stdout.splitlines())
    assert first["image"] == "-"
    assert (
        first["token_ids"] == second["token_ids"] == run(tiny_bundle, photo, "--task", "od", "--json").json["token_ids"]
    )
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == {"stdin.png", "stdin-2.png"}
    nothing = CliRunner().invoke(cli, ["run", str(tiny_bundle), "-", *options], input=b"")
    assert nothing.exit_code == 1
    assert nothing.stderr.startswith("f2edge: -: the picture in the open file is not a picture")


def test_a_closed_standard_input(tiny_bundle: Path) -> None:
    """Without a standard input, "-" is refused in one line."""
    first = "import os, sys; os.close(0); sys.stdin = None"
    line = f2edge_process("run", tiny_bundle, "-", "--task", "od", first=first).error
    assert line == "f2edge: standard input cannot be read; redirect a picture to it"


def test_a_device_that_computes_wrong_values(
    tiny_bundle: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --on-mismatch error the command stops at a wrong component; with warn, stderr names it."""
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "cache"))
    assert run(tiny_bundle, photo, "--task", "od", "--on-mismatch", "error").code == 0
    monkeypatch.setattr("f2edge.selfcheck._faults", lambda _verified: {"vision": "it is off by 0.4"})
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "other"))
    assert "vision: it is off by 0.4" in run(tiny_bundle, photo, "--task", "od", "--on-mismatch", "error").error
    outcome = run(tiny_bundle, photo, "--task", "od", "--on-mismatch", "warn")
    assert (outcome.code, outcome.stderr.count("off by 0.4; goes on as asked")) == (0, 1)
    assert run(tiny_bundle, photo, "--task", "od", "--on-mismatch", "never").code == 2


def test_an_error_about_one_picture_names_options(
    tiny_bundle: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an engine's error names an argument in backticks, the command prints the name of the option instead."""

    def refuse(*_: object, **__: object) -> None:
        raise LimitError("the engine takes answers of 8 tokens; lower `max_new_tokens`")

    monkeypatch.setattr(Florence2, "run", refuse)
    assert run(tiny_bundle, photo, "--task", "caption").error.endswith("8 tokens; lower --max-new-tokens")


def test_device_in_any_case(tiny_bundle: Path, photo: Path) -> None:
    """Device names may be written in lower case, although engines use capitals; an empty name is wrong usage."""
    assert run(tiny_bundle, photo, "--task", "od", "--device", "cpu").code == 0
    assert run(tiny_bundle, photo, "--task", "od", "--device", "vision=cpu,decoder=CPU").code == 0
    assert "'tower' is not a component" in run(tiny_bundle, photo, "--task", "od", "--device", "tower=CPU").error
    outcome = run(tiny_bundle, photo, "--task", "od", "--device", "")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "the name is empty" in outcome.stderr


def huge_png() -> bytes:
    """Return a PNG of 30,000 x 30,000 pixels that is small as a file."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_bad_pictures(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    """A picture that is missing, truncated, not a picture or far too large gives one line and no drawing."""
    (tmp_path / "truncated.jpg").write_bytes(photo.read_bytes()[:700])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "huge.png").write_bytes(huge_png())
    expected = {
        "missing.jpg": "is not there: no such file",
        "truncated.jpg": "damaged",
        "text.png": "is not a picture",
        "huge.png": "more than 100 million pixels: scale it down",
    }
    for name, words in expected.items():
        outcome = run(tiny_bundle, tmp_path / name, "--task", "od", "--draw", tmp_path / "drawn.png")
        assert words in outcome.error
        assert name in outcome.error
        assert outcome.stdout == ""
    assert not (tmp_path / "drawn.png").exists()
