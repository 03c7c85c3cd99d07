"""Bundles are right on processors that QEMU emulates: 64-bit ARM with and without dot products, x86 without VNNI.

What is fetched once is kept in build/emulation, or in the folder that F2EDGE_EMULATION names.  Where QEMU or a package
cannot be had, the tests are skipped, and say why.  An emulator shows what is computed, and nothing about speed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scenes import write_scenes

from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.targets import TARGETS
from tests.emulated.packages import PackageError, run
from tests.emulated.processors import CORTEX_A72, CORTEX_A76, HASWELL, PROCESSORS, Emulation, Processor
from tests.support.command import f2edge

if TYPE_CHECKING:
    from f2edge.targets import Precision

pytestmark = pytest.mark.emulated

ROOT = Path(__file__).resolve().parents[2]
SCENES = 5
"""Each has some fifteen questions."""
HALF_A_POINT = 0.005
AS_EXACT = 1.5
"""How many times its error on this machine a component may be off on another processor."""
BUNDLES: list[tuple[str, Precision]] = [
    ("cpu", "fp32"),
    ("cpu", "fp16"),
    ("cpu", "int8"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
]


@pytest.fixture(scope="session")
def emulation(tmp_path_factory: pytest.TempPathFactory) -> Emulation:
    """Return the emulator, with this checkout's f2edge for ARM; it is set up once."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={folder}", ROOT)
    (wheel,) = folder.glob("*.whl")
    try:
        return Emulation.set_up(Path(os.environ.get("F2EDGE_EMULATION", ROOT / "build" / "emulation")), wheel)
    except PackageError as error:
        pytest.skip(f"no emulated processor: {error}")


@pytest.fixture(scope="session")
def int8_bundles(tiny_checkpoint: Path, tiny_int8: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the tiny checkpoint in INT8, by target; both have the same quantized graphs."""
    path = tmp_path_factory.mktemp("emulated") / "cpu"
    options = Options(TARGETS["cpu"], "int8", calibration=tiny_int8 / "pictures", stages=tiny_int8 / "stages")
    build(tiny_checkpoint, path, options)
    return {"cpu": path, "onnx": tiny_int8 / "bundle"}


@pytest.fixture(scope="session")
def embedded(stages: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Precision], Path]:
    """Return the embedded checkpoint in every form, by target and precision."""
    folder = tmp_path_factory.mktemp("embedded")
    write_scenes(folder / "calibration", 64, 4000)
    for target, precision in BUNDLES:
        calibration = folder / "calibration" if precision == "int8" else None
        options = Options(TARGETS[target], precision, calibration=calibration, samples=64, stages=stages)
        build(ROOT / "demo" / "checkpoint", folder / f"{precision}.{target}", options)
    return {(target, precision): folder / f"{precision}.{target}" for target, precision in BUNDLES}


def errors(verdict: Any) -> dict[str, float]:
    """Return the relative errors in the JSON of ``f2edge verify``, by component."""
    return {name: component["relative_error"] for name, component in verdict["components"].items()}


@pytest.mark.parametrize(
    ("processor", "target"), [(CORTEX_A76, "cpu"), (HASWELL, "cpu"), (HASWELL, "onnx"), (CORTEX_A72, "onnx")]
)
def test_int8_is_as_exact_as_here(
    processor: Processor, target: str, int8_bundles: dict[str, Path], emulation: Emulation, tmp_path: Path
) -> None:
    """INT8 is where processors differ.  The tiny model shows it; the slow tests have the embedded one."""
    there = json.loads(emulation.f2edge(processor, tmp_path, "verify", int8_bundles[target], "--json"))
    here = errors(f2edge("verify", int8_bundles[target], "--json").json)
    assert there["passed"]
    assert {name for name, error in errors(there).items() if error > AS_EXACT * here[name]} == set(), (there, here)


@pytest.mark.parametrize(
    ("processor", "sets", "precisions"),
    [
        (CORTEX_A76, ["asimddp"], ["int8", "int8"]),
        (CORTEX_A72, [], ["fp16", "fp32"]),
        (HASWELL, ["avx2"], ["fp16", "fp32"]),
    ],
    ids=lambda value: value.cpu if isinstance(value, Processor) else None,
)
def test_devices_sees_the_emulated_processor(
    processor: Processor, sets: list[str], precisions: list[str], emulation: Emulation, tmp_path: Path
) -> None:
    """``f2edge devices`` names its instruction sets, not this machine's, and recommends INT8 where it is fast."""
    seen = json.loads(emulation.f2edge(processor, tmp_path, "devices", "--json"))
    assert [device["instruction_sets"] for device in seen] == [sets] * 2
    assert [device["precision"] for device in seen] == precisions


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS, ids=lambda processor: processor.cpu)
@pytest.mark.parametrize("bundle", BUNDLES, ids="-".join)
def test_the_embedded_checkpoint(
    processor: Processor,
    bundle: tuple[str, Precision],
    embedded: dict[tuple[str, Precision], Path],
    emulation: Emulation,
    tmp_path: Path,
    record_property: Any,
) -> None:
    """Every form passes ``verify``, INT8 is as exact as here, and the metrics of some 75 greedy answers are as here.

    Those of the float forms differ by half a point at most.  In INT8 near ties fall otherwise on each processor, and
    one of five answers is 20 points: only the mean over all metrics is held, to two points.
    """
    write_scenes(tmp_path / "scenes", SCENES, 2000)
    verdict = json.loads(emulation.f2edge(processor, tmp_path / "home", "verify", embedded[bundle], "--json"))
    asked = ("eval", embedded[bundle], "--data", tmp_path / "scenes", "--num-beams", 1, "--json")
    there, here = json.loads(emulation.f2edge(processor, tmp_path / "home", *asked)), f2edge(*asked).json
    record_property("errors", errors(verdict))
    record_property("metrics", {"here": here, "there": there})
    assert verdict["passed"]
    lost = [mine - other for mine, other in zip(values(here), values(there), strict=True)]
    if bundle[1] == "int8":
        as_here = errors(f2edge("verify", embedded[bundle], "--json").json)
        assert {name for name, error in errors(verdict).items() if error > AS_EXACT * as_here[name]} == set()
        assert sum(lost) / len(lost) <= 0.02
    else:
        assert max(map(abs, lost)) <= HALF_A_POINT


SCALES = {"cider": 0.1, "cer": -1.0}
"""CIDEr ends at 10 instead of 1, and of errors less is better."""


def values(report: Any) -> list[float]:
    """Return the metrics of a report of ``f2edge eval``, of which 1 is a hundred points and more is better."""
    (bundle,) = report["bundles"]
    metrics = [each for task in bundle["metrics"].values() for each in task.items()]
    return [SCALES.get(name, 1.0) * each["value"] for name, each in metrics if each["value"] is not None]
