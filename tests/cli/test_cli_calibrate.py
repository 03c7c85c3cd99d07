"""``f2edge calibrate``: confidences in the manifest, or one line that says why there are none."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from f2edge.bundle.manifest import open_bundle
from f2edge.bundle.writing import MANIFEST
from f2edge.model import load
from tests.support.command import f2edge, f2edge_process
from tests.support.evaluations import write_jsonl

if TYPE_CHECKING:
    from pathlib import Path

PICTURES = 6
FAR = [0, 0, 1, 1]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def write_data(folder: Path, bundle: Path) -> Path:
    """Write a data set whose truth is what the bundle answers, but only for half of the pictures."""
    folder.mkdir()
    lines: list[dict[str, Any]] = []
    with load(bundle, threads=1) as model:
        for number in range(PICTURES):
            name = f"{number}.png"
            pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name)
            result = model.run(folder / name, "ocr_with_region", num_beams=1)
            quads = [list(quad) for quad in result.quads] if number % 2 else []
            question = {"task": "ocr_with_region", "labels": list(result.labels[: len(quads)]), "quads": quads}
            lines.append({"image": name, "questions": [question, {"task": "caption", "answers": ["x"]}]})
    write_jsonl(folder / "truth.jsonl", lines)
    return folder


def test_a_users_own_confidences(bundle: Path, tmp_path: Path) -> None:
    """They are written into the manifest and nowhere else, answers have them, and eval measures them."""
    data = write_data(tmp_path / "data", bundle)
    before = open_bundle(bundle)
    outcome = f2edge("calibrate", bundle, "--data", data, "--json")
    assert outcome.code == 0
    counts = outcome.json["tasks"]["<OCR_WITH_REGION>"]
    assert counts["objects"] > counts["right"] > 0
    opened = open_bundle(bundle)
    assert opened.hashes() == before.hashes()
    assert list(opened.confidence) == ["<OCR_WITH_REGION>"]
    assert {path.name for path in bundle.iterdir()} == {*opened.hashes(), MANIFEST}
    answer = f2edge("run", bundle, data / "1.png", "--task", "ocr_with_region", "--num-beams", 1, "--json").json
    assert answer["calibrated"]
    assert answer["confidences"] != answer["scores"]
    report = f2edge("eval", bundle, "--data", data, "--num-beams", 1, "--json").json["bundles"][0]["confidence"]
    assert [(one["task"], one["calibrated"]) for one in report] == [("<OCR_WITH_REGION>", True)]
    assert report[0]["ece"] < 0.2
    assert "<OCR_WITH_REGION>" in f2edge("calibrate", bundle, "--data", data).stdout


def test_too_few_objects(bundle: Path, tmp_path: Path) -> None:
    """The bundle stays as it is."""
    data = write_data(tmp_path / "data", bundle)
    before = (bundle / MANIFEST).read_bytes()
    assert (
        "objects in the answers are right; confidences need at least 10 right and 10 wrong ones"
        in f2edge("calibrate", bundle, "--data", data, "--limit", 1).error
    )
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
