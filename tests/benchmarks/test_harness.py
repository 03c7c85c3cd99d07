"""The benchmarks run end to end on a tiny model, and the peer that was written for them computes correctly."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import pytest
import torch
from artefacts import Cache
from embedding import BATCHES, CLIENTS
from measuring import step_name
from notebook_conversion import PARTS
from rounds import Outcome, prepare, run
from transformers import Florence2ForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput
from workload import BEAMS, CASES, ROOT, WORKLOADS

from tests.support.native import native_config

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # compiles six models and runs each in its own process
TINY = WORKLOADS["tiny"]
WHOLE = ("torch-fp32", "notebook", "onnxruntime-fp32", "f2edge-int8")
CONTENDERS = (*WHOLE, "limits", "ctranslate2", "process")
STEPS = {step_name(beams, position) for beams in BEAMS for position in TINY.positions}


def script(name: str, *arguments: object) -> None:
    """Run one of the benchmarks' programs."""
    command = [sys.executable, str(ROOT / "benchmarks" / name), "--quick", "--threads", "1", *map(str, arguments)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)  # noqa: S603
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory in which this module keeps compiled models."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def report(directory: Path) -> dict[str, Any]:
    """Return the report of one round with all kinds of contenders."""
    script("bench.py", "--only", ",".join(CONTENDERS), "--cache", directory, "--output", directory / "results")
    loaded: dict[str, Any] = json.loads((directory / "results" / "bench.json").read_text(encoding="utf-8"))
    return loaded


def test_every_contender_measures_what_it_should(report: dict[str, Any]) -> None:
    """Whole models measure answers, stages and steps; the other contenders measure their own parts."""
    measured = {name: contender["median"].keys() for name, contender in report["contenders"].items()}
    assert measured.keys() == set(CONTENDERS)
    assert not [contender["failure"] for contender in report["contenders"].values() if contender["failure"]]
    for name in WHOLE:
        assert measured[name] >= {*CASES, "vision", "encoder", *STEPS}, name
    assert measured["ctranslate2"] == STEPS
    assert measured["process"] == {"peak_mb", "process_first_token"}
    assert measured["f2edge-int8"] >= {"second_question", "first_token"}


def test_the_limits_come_from_the_kernels_they_name(report: dict[str, Any]) -> None:
    """The rates of INT8 and fp32 were measured with kernels of that precision."""
    kernels = report["contenders"]["limits"]["kernels"]
    assert all(kernel.endswith(("i8", "u8")) for kernel in kernels["int8"]), kernels
    assert all(kernel.endswith("f32") for kernel in kernels["fp32"]), kernels


def test_every_target_is_judged(report: dict[str, Any], directory: Path) -> None:
    """Every target is judged, except those of a contender that was left out, which the report says."""
    unjudged = [check["what"] for check in report["acceptance"] if check["met"] is None]
    assert len(report["acceptance"]) == 22
    assert unjudged == ["caption: times faster than torch-bf16", "od: times faster than torch-bf16"]
    text = (directory / "results" / "bench.md").read_text(encoding="utf-8")
    assert text.count("not measured") == len(unjudged)
    assert (directory / "results" / "bench.png").stat().st_size > 1000


def test_the_notebooks_decoder_equals_transformers(report: dict[str, Any], directory: Path) -> None:
    """Its logits equal transformers', over a prefix and over steps with reordered beams, up to fp16 weights."""
    assert report["contenders"]["notebook"]["failure"] is None
    path = Cache(TINY, directory).get("notebook")
    compiled = [ov.Core().compile_model(path / f"{n}.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}) for n in PARTS]
    torch.manual_seed(0)
    model = Florence2ForConditionalGeneration._from_config(native_config(TINY.geometry), dtype=torch.float32).eval()
    states = torch.randn(1, 30, TINY.geometry.d_model).repeat(3, 1, 1)
    request, reorder = compiled[PARTS.index("decoder")].create_infer_request(), np.array([1, 1, 0], np.int32)
    sequences = new = torch.randint(5, 1500, (3, 4))
    for beam_idx in (np.arange(3, dtype=np.int32), *[reorder] * 20):
        sequences = new if new is sequences else torch.cat([sequences[beam_idx.tolist()], new], 1)
        inputs = {"decoder_input_ids": new.numpy(), "encoder_hidden_states": states.numpy(), "beam_idx": beam_idx}
        request.infer(inputs)
        with torch.no_grad():
            expected = model(encoder_outputs=BaseModelOutput(states), decoder_input_ids=sequences).logits[:, -1]
        np.testing.assert_allclose(request.get_tensor("logits").data[:, -1], expected, atol=2e-3)
        new = torch.randint(5, 1500, (3, 1))


def test_a_contender_that_fails_is_left_out(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a contender fails, its error is recorded and the others go on."""
    monkeypatch.setattr("rounds.WORKER", directory / "no-such-worker.py")
    outcome = Outcome()
    run({"limits": outcome}, {"limits": 1}, Cache(TINY, directory), 2, lambda _line: None)
    assert outcome.rounds == []
    assert "No such file" in str(outcome.failure)


def test_an_artefact_that_cannot_be_made_fails_its_contender_only(directory: Path) -> None:
    """The outcome of that contender gives the reason, and no process is started for it."""
    outcomes = prepare(["scaled-cpu-fp32-33", "limits"], Cache(TINY, directory))
    assert "33" in str(outcomes["scaled-cpu-fp32-33"].failure)
    assert outcomes["limits"].failure is None


def test_curves(report: dict[str, Any], directory: Path) -> None:
    """Each axis has its points and its fitted line."""
    assert report
    script("curves.py", "--rounds", 1, "--cache", directory, "--output", directory / "results")
    written = json.loads((directory / "results" / "curves.json").read_text(encoding="utf-8"))
    axes = [curve["axis"] for curve in written["curves"]]
    assert axes == ["tokens", "beams", "prompts", "images", "size, caption", "size, vision", "size, encoder"]
    assert all(len(curve["amounts"]) == len(curve["departures"]) > 1 for curve in written["curves"])
    assert (directory / "results" / "curves.png").stat().st_size > 1000


def test_embedded(directory: Path) -> None:
    """Threads and batches are measured, and transformers' batches in the same run."""
    script("embed.py", "--rounds", 1, "--cache", directory, "--output", directory / "results")
    written = json.loads((directory / "results" / "embed.json").read_text(encoding="utf-8"))
    names = ("embedded-cpu-int8@turns", "embedded-cpu-int8@batches", "embedded-torch")
    turns, batches, peer = (written["rounds"][name][0] for name in names)
    assert written["failures"] == {}
    assert {f"1x1_clients_{count}_latency" for count in CLIENTS} | {"one_by_one", "1x1_together"} <= turns.keys()
    assert {f"{kind}_{size}_peak_mb" for kind in ("pictures", "questions") for size in BATCHES} <= batches.keys()
    assert peer.keys() <= batches.keys()
