"""``f2edge eval``: metrics of bundles side by side, and one line of error for every bad data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from f2edge.evaluation import ask
from f2edge.model import Florence2, load
from tests.support.command import f2edge, f2edge_process
from tests.support.evaluations import write_json, write_jsonl, write_picture

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.asking.encoded import EncodedImage
    from f2edge.image import ImageSource

BLOCK = "import sys\nfor name in ('torch', 'onnx', 'nncf', 'transformers'): sys.modules[name] = None\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write a data set of four pictures with questions, of which one is missing and one is not a picture."""
    questions = [
        {"task": "REGION_TO_CATEGORY", "region": [0, 0, 30, 30], "answer": "red star"},
        {"task": "OD", "labels": ["star"], "boxes": [[0, 0, 30, 30]]},
    ]
    names = ["a.png", "missing.png", "text.png", "b.png"]
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name)
    (tmp_path / "text.png").write_text("no picture")
    write_jsonl(tmp_path / "truth.jsonl", [{"image": name, "questions": questions} for name in names])
    return tmp_path


def test_two_bundles(tiny_bundle: Path, tiny_onnx_bundle: Path, data: Path) -> None:
    """The table goes to stdout, what was left out to stderr; both engines give the same tokens."""
    outcome = f2edge("eval", tiny_bundle, tiny_onnx_bundle, "--data", data, "--num-beams", 1)
    assert outcome.code == 0
    lines = outcome.stdout.splitlines()
    assert lines[0].startswith(f"2 pictures of {data} (JSONL of questions), num_beams 1.")
    assert "tiny.onnx − tiny.cpu" in lines[2]
    assert [line.split("|")[2].strip() for line in lines[4:7]] == ["mAP", "AP50", "accuracy"]
    assert "100.0 %" in lines[7]
    notes = outcome.stderr.splitlines()
    assert notes[0].startswith(
        "left out 2 pictures: missing.png (is not there: no such file), text.png (is not a picture"
    )
    assert notes[1:] == []


def test_ignored_files_are_reported(tiny_bundle: Path, data: Path) -> None:
    """Files that are not part of the data set are named in a line on stderr and in the JSON."""
    (data / "._truth.jsonl").write_bytes(b"\x00\x05\x16\x07")
    outcome = f2edge("eval", tiny_bundle, "--data", data, "--num-beams", 1, "--json")
    assert outcome.stderr.splitlines()[0] == "left out 1 file: ._truth.jsonl (hidden)"
    files = [note for note in outcome.json["data"]["left_out"] if note["thing"] == "file"]
    assert files == [{"verb": "left out", "thing": "file", "name": "._truth.jsonl", "reason": "hidden", "count": 1}]


def test_json(tiny_bundle: Path, data: Path) -> None:
    """With --json, the output is one line with the documented keys, and a second run prints the same line."""
    outcome = f2edge("eval", tiny_bundle, "--data", data, "--num-beams", 1, "--json")
    assert outcome.stdout.count("\n") == 1
    assert f2edge("eval", tiny_bundle, "--data", data, "--num-beams", 1, "--json") == outcome
    summary = outcome.json
    assert list(summary) == ["data", "num_beams", "interrupted", "interval", "bundles"]
    assert summary["data"]["pictures"] == 2
    assert [skipped["image"] for skipped in summary["data"]["skipped"]] == ["missing.png", "text.png"]
    (bundle,) = summary["bundles"]
    assert set(bundle["metrics"]) == {"<REGION_TO_CATEGORY>", "<OD>"}
    assert set(bundle["metrics"]["<OD>"]["map"]) == {"value", "low", "high", "count"}


def test_limit(tiny_bundle: Path, data: Path) -> None:
    """--limit N takes the first N pictures of the file; if there are fewer, stderr says so."""
    one = f2edge("eval", tiny_bundle, "--data", data, "--limit", 1, "--json", "--num-beams", 1)
    assert one.json["data"]["pictures"] == 1
    many = f2edge("eval", tiny_bundle, "--data", data, "--limit", 9, "--json", "--num-beams", 1)
    assert many.stderr.splitlines()[0] == f"{data} has 4 pictures, fewer than --limit 9"


def test_same_names(tiny_bundle: Path, data: Path) -> None:
    """Bundles with the same name are distinguished by their paths, even if both are the same directory."""
    other = data / "tiny.cpu"
    other.symlink_to(tiny_bundle)
    outcome = f2edge("eval", tiny_bundle, other, "--data", data, "--limit", 1, "--json", "--num-beams", 1)
    assert [bundle["bundle"] for bundle in outcome.json["bundles"]] == [str(tiny_bundle), str(other)]


def test_without_the_build_side(tiny_bundle: Path, data: Path) -> None:
    """Evaluation works without torch; without the packages of the eval extra, the error names that extra."""
    arguments = ("eval", tiny_bundle, "--data", data, "--limit", 1, "--json", "--num-beams", 1)
    assert f2edge_process(*arguments, first=BLOCK).code == 0
    missing = (
        "import importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda n: n != 'rapidfuzz' and find(n) or None"
    )
    assert "run: pip install 'f2edge[eval]'" in f2edge_process(*arguments, first=missing).error


def test_bad_data_sets(tiny_bundle: Path, tmp_path: Path) -> None:
    """An unknown data set, one without readable pictures, metrics or annotations is refused in one line."""
    coco = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}
    places = {
        "empty": ([], "looked for: *.jsonl"),
        "unread": (
            [{"image": "a.png", "questions": [{"task": "od"}]}],
            "none of the 1 pictures can be asked about; the first: a.png (is not there: no such file)",
        ),
        "untrue": (
            [{"image": str(tmp_path / "a.png"), "questions": [{"task": "region_proposal"}]}],
            "<REGION_PROPOSAL> needs boxes",
        ),
    }
    write_picture(tmp_path / "a.png")
    for name, (lines, words) in places.items():
        (tmp_path / name).mkdir()
        write_jsonl(tmp_path / name / "truth.jsonl", lines)
        outcome = f2edge("eval", tiny_bundle, "--data", tmp_path / name)
        assert words in outcome.error
        assert outcome.stdout == ""
    line = f2edge("eval", tiny_bundle, "--data", write_json(tmp_path / "coco" / "captions.json", coco)).error
    assert "is a COCO file without annotations" in line


def test_a_bad_bundle_is_reported_first(tiny_bundle: Path, tmp_path: Path) -> None:
    """A bad bundle is reported before the first bundle is measured for hours, and before the data is read."""
    assert "is not a bundle" in f2edge("eval", tiny_bundle, tmp_path / "none", "--data", tmp_path / "no").error


class Interrupt:
    """Counts the pictures that models encode, and stands for Ctrl-C at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None = None) -> None:
        self.pictures = 0
        encode = Florence2.encode

        def counted(model: Florence2, image: ImageSource) -> EncodedImage:
            self.pictures += 1
            if self.pictures == at:
                raise KeyboardInterrupt
            return encode(model, image)

        monkeypatch.setattr(Florence2, "encode", counted)


def test_a_bundle_that_its_device_cannot_load_is_told_first(
    tiny_bundle: Path, tiny_npu_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No picture is encoded before the second bundle, for a device that is not there, has been tried."""
    counted = Interrupt(monkeypatch)
    outcome = f2edge("eval", tiny_bundle, tiny_npu_bundle, "--data", data)
    assert outcome.code == 1
    assert "NPU" in outcome.stderr.splitlines()[-1]
    assert counted.pictures == 0


def test_an_interrupt_prints_the_pictures_that_are_finished(
    tiny_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metrics of one bundle are over the pictures before the interrupt; the exit code is 130."""
    Interrupt(monkeypatch, at=2)
    outcome = f2edge("eval", tiny_bundle, "--data", data, "--num-beams", 1, "--json")
    assert outcome.code == 130
    assert (outcome.json["interrupted"], outcome.json["data"]["pictures"]) == (True, 1)
    assert "interrupted: tiny.cpu was asked about 1 of 2 pictures" in outcome.stderr.splitlines()


def test_an_interrupt_prints_the_bundles_that_are_finished(
    tiny_bundle: Path, tiny_onnx_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that was not asked everything is left out, so that the others keep all their pictures."""
    Interrupt(monkeypatch, at=4)
    outcome = f2edge("eval", tiny_bundle, tiny_onnx_bundle, "--data", data, "--num-beams", 1, "--json")
    assert outcome.code == 130
    assert [bundle["bundle"] for bundle in outcome.json["bundles"]] == ["tiny.cpu"]
    assert outcome.json["data"]["pictures"] == 2
    assert "interrupted: 1 of 2 bundles are finished; tiny.onnx is left out" in outcome.stderr.splitlines()


def test_an_interrupt_before_any_answer(tiny_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to print."""
    Interrupt(monkeypatch, at=1)
    outcome = f2edge("eval", tiny_bundle, "--data", data)
    assert (outcome.code, outcome.stdout) == (130, "")


def test_threads_and_device_reach_every_bundle(
    tiny_bundle: Path, tiny_onnx_bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--threads`` and ``--device`` are passed on each time that a bundle is opened."""
    opened: list[tuple[str, dict[str, object]]] = []

    def record(bundle: Path, **options: object) -> Florence2:
        opened.append((bundle.name, options))
        return load(bundle)

    monkeypatch.setattr("f2edge.load", record)
    command = ["eval", tiny_bundle, tiny_onnx_bundle, "--data", data, "--num-beams", 1, "--limit", 1]
    assert f2edge(*command, "--threads", 1, "--device", "CPU").code == 0
    assert {name for name, _ in opened} == {tiny_bundle.name, tiny_onnx_bundle.name}
    assert all(options == {"device": "CPU", "threads": 1} for _, options in opened)


@pytest.mark.parametrize(("memory", "loads"), [(10**6, 1), (1, 2), (None, 2)])
def test_how_often_bundles_are_opened(
    memory: int | None,
    loads: int,
    tiny_bundle: Path,
    tiny_onnx_bundle: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once each, before the first question.

    Where memory is scarce or its size unknown, all but the first are closed and opened again.
    """
    events: list[str] = []

    def record(bundle: Path, **_: object) -> Florence2:
        events.append(bundle.name)
        return load(bundle)

    def asked(*arguments: Any) -> Any:
        events.append("ask")
        return ask(*arguments)

    monkeypatch.setattr("f2edge.load", record)
    monkeypatch.setattr("f2edge.evaluation.ask", asked)
    monkeypatch.setattr("f2edge.cli.eval.memory_mib", lambda: memory)
    assert f2edge("eval", tiny_bundle, tiny_onnx_bundle, "--data", data, "--num-beams", 1, "--limit", 1).code == 0
    again = [tiny_onnx_bundle.name] * (loads - 1)
    assert events == [tiny_bundle.name, tiny_onnx_bundle.name, "ask", *again, "ask"]
