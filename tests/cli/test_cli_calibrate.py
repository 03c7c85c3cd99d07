"""``f2edge calibrate``: confidences in the manifest, or one line that says why there are none."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from f2edge.bundle.manifest import open_bundle
from f2edge.bundle.writing import MANIFEST
from tests.support.command import f2edge, f2edge_process
from tests.support.evaluations import write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from f2edge.evaluation import Asked

PICTURES = 6


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write a data set of noise, about which a random model is wrong."""
    folder = tmp_path / "data"
    folder.mkdir()
    questions = [
        {"task": "od", "labels": ["star"], "boxes": [[0, 0, 30, 30]]},
        {"task": "caption", "answers": ["x"]},
    ]
    for number in range(PICTURES):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    names = (f"{number}.png" for number in range(PICTURES))
    write_jsonl(folder / "truth.jsonl", [{"image": name, "questions": questions} for name in names])
    return folder


def test_a_users_own_confidences(bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are written into the manifest and nowhere else; answers have them, and eval measures them.

    Every second object of the random model counts as right.
    """

    def every_second(asked: Asked) -> NDArray[np.float64]:
        return np.arange(len(asked.result.labels)) % 2.0

    monkeypatch.setattr("f2edge.calibration.confidence.overlaps", every_second)
    before = open_bundle(bundle)
    outcome = f2edge("calibrate", bundle, "--data", data, "--json")
    assert outcome.code == 0
    counts = outcome.json["tasks"]["<OD>"]
    assert counts["objects"] > counts["right"] > 0
    opened = open_bundle(bundle)
    assert opened.hashes() == before.hashes()
    assert list(opened.confidence) == ["<OD>"]
    assert {path.name for path in bundle.iterdir()} == {*opened.hashes(), MANIFEST}
    answer = f2edge("run", bundle, data / "3.png", "--task", "od", "--num-beams", 1, "--json").json
    assert answer["calibrated"]
    assert answer["confidences"] != answer["scores"]
    report = f2edge("eval", bundle, "--data", data, "--num-beams", 1, "--json").json["bundles"][0]["confidence"]
    assert [(one["task"], one["calibrated"]) for one in report] == [("<OD>", True)]
    assert "<OD>" in f2edge("calibrate", bundle, "--data", data).stdout


def test_too_few_objects(bundle: Path, data: Path) -> None:
    """The bundle stays as it is."""
    before = (bundle / MANIFEST).read_bytes()
    error = f2edge("calibrate", bundle, "--data", data, "--limit", 2).error
    assert "f2edge: 0 of " in error
    assert "objects in the answers are right; confidences need at least 10 right and 10 wrong ones" in error
    assert (bundle / MANIFEST).read_bytes() == before


def test_refused_data(bundle: Path, tmp_path: Path) -> None:
    """Data without boxes, with an unknown task, or none at all: one line each, before anything is asked."""
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    entry = {"image": "a.png", "questions": [{"task": "caption", "answers": ["x"]}]}
    captions = write_jsonl(tmp_path / "captions.jsonl", [entry])
    assert f"{captions} has no true boxes, quads or polygons" in f2edge("calibrate", bundle, "--data", captions).error
    unknown = write_jsonl(tmp_path / "unknown.jsonl", [entry | {"questions": [{"task": "odd"}]}])
    assert "unknown task" in f2edge("calibrate", bundle, "--data", unknown).error
    assert "is not there" in f2edge("calibrate", bundle, "--data", tmp_path / "nothing").error
    assert "is not a bundle" in f2edge("calibrate", tmp_path, "--data", captions).error


def test_a_missing_package_is_named(bundle: Path, tmp_path: Path) -> None:
    """Without scikit-learn the command names the extra to install."""
    outcome = f2edge_process("calibrate", bundle, "--data", tmp_path, first="import sys; sys.modules['sklearn'] = None")
    assert "scikit-learn" in outcome.error
