"""The benchmark: what it measures, how often, and on what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import f2edge.bench as bench_module
from f2edge.bench import STAGES, LatencyReport, bench, compare
from f2edge.errors import InputError, LimitError, TaskError
from f2edge.machine import cores, cpu_name
from tests.support.planted import planted


@pytest.fixture(scope="module")
def report(tiny_bundle: Path) -> LatencyReport:
    """Return the report of three measured runs of a seven-token answer."""
    return bench(tiny_bundle, num_beams=3, new_tokens=7, runs=3, warmup=1)


@pytest.fixture
def photo_bytes() -> bytes:
    """Return a picture file."""
    buffer = BytesIO()
    Image.effect_noise((60, 40), 80).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_samples(report: LatencyReport) -> None:
    """Every stage has one positive sample per run; load and the first answer have a single sample each."""
    assert tuple(report.samples_ms) == STAGES
    assert {stage: len(samples) for stage, samples in report.samples_ms.items()} == {
        **dict.fromkeys(STAGES, 3),
        "load": 1,
        "first_answer": 1,
    }
    assert min(min(samples) for samples in report.samples_ms.values()) > 0


def test_stages_add_up(report: LatencyReport) -> None:
    """The total of a run is the sum of its stages, and the decoding steps account for most of the decode stage."""
    parts = ("preprocess", "vision", "encoder", "decode", "postprocess")
    sums = np.sum([report.samples_ms[stage] for stage in parts], axis=0)
    assert report.samples_ms["total"] == pytest.approx(sums)
    assert all(np.less(report.samples_ms["first_token"], report.samples_ms["decode"]))
    steps = np.add(report.samples_ms["first_token"], np.multiply(report.steps - 1, report.samples_ms["per_token"]))
    assert all(np.less(steps, report.samples_ms["decode"]))
    assert all(np.greater(steps, np.multiply(0.5, report.samples_ms["decode"])))  # the rest is the end of the search


def test_first_answer(tiny_bundle: Path) -> None:
    """The first answer is that of the very first question, whether or not there is a warm-up."""
    warm, cold = (bench(tiny_bundle, new_tokens=4, runs=1, warmup=warmup).samples_ms for warmup in (1, 0))
    assert warm["first_answer"] != warm["total"]
    assert cold["first_answer"] == cold["total"]


@pytest.mark.parametrize("num_beams", [1, 3])
@pytest.mark.parametrize("new_tokens", [1, 2, 20])
def test_new_tokens_are_exact(tiny_bundle: Path, num_beams: int, new_tokens: int) -> None:
    """An answer has exactly the requested number of tokens; a stage that did not run is left out."""
    report = bench(tiny_bundle, num_beams=num_beams, new_tokens=new_tokens, runs=1, warmup=0)
    assert (report.tokens, report.num_beams) == (new_tokens, num_beams)
    absent = {"first_token", "per_token"} if new_tokens == 1 else {"per_token"} if new_tokens == 2 else set()
    assert set(STAGES) - set(report.samples_ms) == absent


def test_statistics(report: LatencyReport) -> None:
    """Each stage has percentiles, mean and population standard deviation in ms."""
    samples = tuple(float(ms) for ms in range(1, 102))
    statistics = replace(report, samples_ms={"total": samples}).statistics()
    assert statistics["total"] == {"p50": 51.0, "p90": 91.0, "p99": 100.0, "mean": 51.0, "stdev": 29.1548}


def test_report_says_what_was_measured(report: LatencyReport, tiny_bundle: Path) -> None:
    """The report names bundle, engine, versions, machine and what is excluded, and is valid JSON."""
    printed = json.loads(json.dumps(report.to_json()))
    assert printed["bundle_sha256"] == sha256((tiny_bundle / "manifest.json").read_bytes()).hexdigest()
    assert (printed["task"], printed["tokens"], printed["runs"], printed["warmup"]) == ("<CAPTION>", 7, 3, 1)
    assert printed["steps"] == report.steps >= 6
    assert printed["image_size"] == [96, 96]
    assert (printed["device"]["runtime"], printed["device"]["device"]) == ("openvino", "CPU")
    assert set(printed["versions"]) == {"f2edge", "numpy", "pillow", "tokenizers", "openvino"}
    assert 1 <= printed["threads"] <= (os.cpu_count() or 1)
    assert "compiling the checkpoint" in printed["excluded"]


def test_conditions_are_recorded(report: LatencyReport, tiny_bundle: Path) -> None:
    """A report names the bundle and its precision, the moment, and the machine before and after the runs."""
    printed = report.to_json()
    assert printed["bundle"] == tiny_bundle.resolve().name
    assert set(printed["precision"]) == {"vision", "encoder", "decoder"}
    assert datetime.fromisoformat(printed["date"]).tzinfo
    assert printed["answers_per_s"] == pytest.approx(1e3 / printed["stages_ms"]["total"]["mean"], rel=1e-3)
    assert set(printed["conditions"]["before"]) == set(printed["conditions"]["after"])
    if Path("/proc/self/statm").exists():
        assert 0 < printed["mean_rss_mib"] <= printed["peak_rss_mib"]


def test_a_busy_machine_is_told(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning says that the machine ran on its battery; energy is that of the runs."""
    files = {
        "sys/class/power_supply/BAT0/type": "Battery",
        "sys/class/power_supply/BAT0/status": "Discharging",
        "sys/class/hwmon/hwmon0/name": "power_meter",
        "sys/class/hwmon/hwmon0/power1_average": 20_000_000,
    }
    monkeypatch.setattr(bench_module, "SYSTEM", planted(tmp_path, files))
    measured = bench(tiny_bundle, new_tokens=2, runs=2, warmup=0)
    assert measured.warnings == ("the machine ran on its battery",)
    assert measured.energy
    assert measured.seconds
    assert measured.energy.joules == pytest.approx(20 * measured.seconds, rel=0.01)


def test_the_picture_of_several_questions_is_another_one(photo_bytes: bytes, tiny_bundle: Path) -> None:
    """Whatever the picture is given as, each question of many is about a copy, so that none is spared its encoding."""
    for picture in (photo_bytes, memoryview(photo_bytes), BytesIO(photo_bytes), Image.open(BytesIO(photo_bytes))):
        report = bench(tiny_bundle, None, picture, new_tokens=2, runs=3, warmup=0, scenario="offline", batch=3)
        assert len(set(report.samples_ms["vision"])) == 3


def test_progress(tiny_bundle: Path) -> None:
    """Progress is reported for each run, including the warm-up."""
    messages: list[str] = []
    bench(tiny_bundle, new_tokens=2, runs=2, warmup=1, progress=messages.append)
    assert messages == ["warming up", "run 1", "run 2"]


def test_wrong_questions(tiny_bundle: Path) -> None:
    """Zero runs, a task that needs an input, an unknown task and too many tokens are refused."""
    with pytest.raises(InputError, match="at least 1"):
        bench(tiny_bundle, runs=0)
    with pytest.raises(InputError, match="`duration` is nan"):
        bench(tiny_bundle, duration=float("nan"))
    with pytest.raises(InputError, match="`scenario` is 'server'"):
        bench(tiny_bundle, scenario="server")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`workers` and `batch` go with `scenario` offline"):
        bench(tiny_bundle, workers=2)
    with pytest.raises(InputError, match="`batch` is 0"):
        bench(tiny_bundle, scenario="offline", batch=0)
    with pytest.raises(InputError, match="`starts` are measured in other processes"):
        bench(tiny_bundle, image=np.zeros((9, 9, 3), np.uint8), starts=1)
    with pytest.raises(InputError, match="`warmup` is 0"):
        compare(tiny_bundle, tiny_bundle, warmup=0)
    with pytest.raises(TaskError, match="needs one"):
        bench(tiny_bundle, task="region_to_ocr")
    with pytest.raises(TaskError, match="a free prompt needs one"):
        bench(tiny_bundle, task="")
    with pytest.raises(TaskError, match="unknown task"):
        bench(tiny_bundle, task="dance")
    with pytest.raises(LimitError, match="takes 1 to 80"):
        bench(tiny_bundle, new_tokens=81)


def test_machine() -> None:
    """The CPU has a name, and at least one core but no more than the system reports."""
    assert cpu_name()
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_peak_memory() -> None:
    """Peak memory is in MiB, does not fall when memory is freed, and excludes the parent process."""
    code = (
        "import numpy; from f2edge.machine import peak_rss_mib as peak\n"
        "before = peak(); numpy.ones(2**25); print(before, peak())"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    before, after = map(float, printed.split())
    assert 10 < before < 200
    assert 240 < after - before < 300
