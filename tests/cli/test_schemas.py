"""The JSON of every command fits the schema that the package ships for it, and has no field beyond it.

``tests.support.command`` compares what all other tests of the command line print with the schemas, too.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import f2edge.cli.devices as devices_module
import f2edge.cli.verify as verify_module
from f2edge.bench import LatencyReport, bench
from f2edge.bundle.verified import Verified, VerifiedComponent
from f2edge.cli import COMMANDS
from f2edge.cli.output import print_json
from f2edge.evaluation import Asked, Dataset, Question, Report, Run
from f2edge.evaluation.measures import MEASURES
from f2edge.evaluation.samples import Note
from f2edge.runtimes import Device
from f2edge.tasks.table import TASKS, resolve
from tests.support import schemas
from tests.support.command import Outcome, f2edge
from tests.support.evaluations import SIZE, answer, write_jsonl, write_picture
from tests.support.manifests import QUANTIZATION
from tests.support.results import result_of

if TYPE_CHECKING:
    from pathlib import Path

BUNDLES = ("tiny_bundle", "tiny_onnx_bundle")
ENGINES = pytest.mark.parametrize("engine", BUNDLES)
LOCATED = {
    "pure_text": ("A cat",),
    "boxes": ("cat", *["<loc_1>"] * 4, "dog", *["<loc_2>"] * 4),
    "grounding": ("a cat", *["<loc_1>"] * 4, *["<loc_2>"] * 4),
    "polygons": (*["<loc_1>"] * 6, "<sep>", *["<loc_2>"] * 4),
    "boxes_or_polygons": ("dog", "<poly>", *["<loc_2>"] * 6, "</poly>"),
    "ocr": ("STOP", *["<loc_1>"] * 8),
}
"""Tokens of an answer that each parser reads."""


def printed(*arguments: object, code: int = 0) -> Any:
    """Run a command and compare its JSON with its schema; return the JSON."""
    outcome: Outcome = f2edge(*arguments)
    assert outcome.code == code, outcome.stderr
    schemas.check(str(arguments[0]), outcome.json)
    return outcome.json


def test_every_command_has_a_schema() -> None:
    """There is one schema for each command that prints JSON, and one for the manifest."""
    assert set(schemas.names()) == {*COMMANDS, "manifest"} - {"report", "serve"}


@ENGINES
@pytest.mark.parametrize(("task", "text"), [("od", None), ("caption", None), ("", "what?")])
def test_run(engine: str, task: str, text: str | None, photo: Path, request: pytest.FixtureRequest) -> None:
    """``run``, located or not, with a task and with a free prompt."""
    question = ("--task", task, *(("--text", text) if text else ()), "--max-new-tokens", 12)
    assert printed("run", request.getfixturevalue(engine), photo, *question, "--json")["steps"] > 1


@pytest.mark.parametrize("task", ["", *TASKS])
@pytest.mark.parametrize("located", [True, False], ids=["located", "empty"])
def test_answers_of_every_kind(task: str, located: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """The answer of every task, with something in it and empty; numbers that are not finite are null."""
    parser = resolve(task).parser
    tokens = LOCATED[parser] if located else ()
    result = result_of(task, "</s>", "<s>", *tokens, "</s>")
    assert (parser == "pure_text" or not located) == (not result.confidences)
    schemas.check("run", result.to_json(), "#/$defs/result")
    broken = replace(result, token_logprobs=(math.nan,), score=-math.inf, confidences=(math.nan,))
    print_json(broken.to_json())
    schemas.check("run", json.loads(capsys.readouterr().out), "#/$defs/result")


def test_an_answer_with_boxes_where_polygons_are_possible() -> None:
    """``open_vocabulary_detection`` answers with boxes or with polygons."""
    result = result_of("open_vocabulary_detection", "</s>", "<s>", "cat", *["<loc_1>"] * 4, "</s>").to_json()
    assert result["result"]["<OPEN_VOCABULARY_DETECTION>"]["bboxes"]
    schemas.check("run", result, "#/$defs/result")


@ENGINES
def test_bench(engine: str, request: pytest.FixtureRequest) -> None:
    """``bench``, with several steps and with one step, after which there is no time per token."""
    bundle = request.getfixturevalue(engine)
    many = printed("bench", bundle, "--new-tokens", 4, "--runs", 1, "--json")
    once = printed("bench", bundle, "--new-tokens", 2, "--num-beams", 1, "--runs", 1, "--json")
    assert set(many["stages_ms"]) - set(once["stages_ms"]) == {"per_token"}


def test_bench_on_a_system_that_does_not_tell(tiny_bundle: Path) -> None:
    """``bench`` where the system does not tell its memory, nor the engine its threads."""
    report: LatencyReport = bench(tiny_bundle, new_tokens=2, runs=1, warmup=0)
    schemas.check("bench", replace(report, peak_rss_mib=None, threads=None).to_json())


def test_eval(tiny_bundle: Path, tiny_onnx_bundle: Path, tmp_path: Path) -> None:
    """``eval`` of both engines, with a picture that was skipped and one that was left out."""
    questions = [
        {"task": "OD", "labels": ["star"], "boxes": [[0, 0, 30, 30]]},
        {"task": "caption", "answers": ["a star"]},
    ]
    write_picture(tmp_path / "a.png")
    entries = [{"image": name, "questions": questions} for name in ("a.png", "missing.png")]
    write_jsonl(tmp_path / "truth.jsonl", entries)
    (tmp_path / "._truth.jsonl").write_bytes(b"\x00\x05")
    report = printed("eval", tiny_bundle, tiny_onnx_bundle, "--data", tmp_path, "--num-beams", 1, "--json")
    assert report["data"]["skipped"]
    assert report["data"]["left_out"]
    assert "agreement" in report["bundles"][1]
    assert report["bundles"][0]["metrics"]["<CAPTION>"]["cider"]["value"] is None


def test_eval_of_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    """The metrics of every task are described; of three pictures the last lacks what is asked for."""
    square = (0.0, 0.0, 20.0, 0.0, 20.0, 20.0, 0.0, 20.0)
    truth: dict[str, Any] = {"answers": ("a dog",), "labels": ("dog",), "boxes": ((0.0, 0.0, 20.0, 20.0),)}

    def run_of(ids: tuple[int, ...]) -> Run:
        asked = {}
        for index, task in enumerate(MEASURES):
            shape = {"quads": (square,)} if task == "<OCR_WITH_REGION>" else {"boxes": truth["boxes"]}
            question = Question(task, "x", **truth, polygons=(square,), quads=(square,))
            result = answer(task, "a dog", token_ids=ids, **shape)
            asked |= {(picture, index): Asked(picture, SIZE, question, result) for picture in (0, 1)}
        absent = Question("<OPEN_VOCABULARY_DETECTION>", "x")
        asked[2, 0] = Asked(2, SIZE, absent, answer(absent.task))
        return Run(asked, pictures=3)

    note = Note("left out", "annotation", "a.json", "no box", 3)
    runs = {"one": run_of((2, 0, 2)), "two": run_of((2, 0, 5, 2))}
    report = Report.of(Dataset("x", "JSONL of questions", (), (note,)), runs, None).to_json()
    print_json(report)
    schemas.check("eval", json.loads(capsys.readouterr().out))
    described = set(schemas.read("eval")["$defs"]["metrics"]["properties"])
    assert described == {key for metrics in report["bundles"][0]["metrics"].values() for key in metrics}


@ENGINES
def test_verify(engine: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """``verify`` that passes, and one that fails with an error that is not a number."""
    bundle = request.getfixturevalue(engine)
    assert printed("verify", bundle, "--json")["passed"]
    real = verify_module.verify

    def fail(model: Any) -> Verified:
        good = real(model)
        vision = VerifiedComponent.measured("fp32", float("nan"), 1e-4)
        return Verified.of(good.device, good.components | {"vision": vision}, good.answers)

    monkeypatch.setattr(verify_module, "verify", fail)
    assert not printed("verify", bundle, "--json", code=1)["passed"]


@pytest.mark.parametrize("name", [*BUNDLES, "tiny_npu_bundle", "tiny_jetson_bundle"])
def test_inspect(name: str, request: pytest.FixtureRequest) -> None:
    """``inspect`` and the manifest of a bundle for each engine, with and without fixed shapes."""
    bundle = request.getfixturevalue(name)
    printed("inspect", bundle, "--json")
    schemas.check("manifest", json.loads((bundle / "manifest.json").read_text()))


def test_inspect_with_measurements_of_int8(tiny_bundle: Path, tmp_path: Path) -> None:
    """``inspect`` of a bundle that records blocks and mixes."""
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    for component in manifest["components"].values():
        component |= {"precision": "int8", "compute": "bf16"}
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "quantization": QUANTIZATION}))
    assert printed("inspect", bundle, "--json")["quantization"] == QUANTIZATION


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """``devices`` of this machine, and of one with GPUs, an NPU and a device without a target."""
    assert printed("devices", "--json")
    others = [
        Device("openvino", "GPU.1", "Intel Arc A770 (dGPU)", "24.35.30872", 16_288, ("FP32", "FP16", "INT8")),
        Device("openvino", "NPU", "Intel AI Boost", "1.5.1", None, ("FP16", "INT8")),
        Device("openvino", "GNA", "Intel GNA"),
        Device("tensorrt", "CUDA", "NVIDIA RTX 4000"),
    ]
    monkeypatch.setattr(devices_module, "devices", lambda: others)
    assert [device["target"] for device in printed("devices", "--json")] == ["igpu", "npu", None, "jetson"]


def test_targets() -> None:
    """``targets`` lists every target with all of its fields."""
    assert printed("targets", "--json")


@pytest.mark.usefixtures("exported")
def test_compile(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """``compile`` prints the bundle that it made."""
    arguments = ("--target", "onnx", "--precision", "fp32", "--json")
    assert printed("compile", tiny_checkpoint, "-o", tmp_path / "bundle", *arguments)["size_bytes"] > 0
