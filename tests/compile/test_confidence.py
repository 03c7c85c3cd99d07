"""The step of a compilation that fits confidences on the calibration pictures."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from f2edge.bundle.manifest import open_bundle
from f2edge.compile.build import steps_of
from f2edge.compile.options import Listener, Options
from f2edge.compile.steps import calibrate_confidence
from f2edge.evaluation import Question, Sample
from f2edge.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from f2edge.evaluation import Asked

OBJECTS = Question("<OD>", labels=("star",), boxes=((0.0, 0.0, 30.0, 30.0),))
CAPTION = Question("<CAPTION>", answers=("a star",))


class Compilation:
    """A compilation that has written its bundle, and the notices that it gave.

    Args:
        bundle: the bundle.
        question: what the calibration data asks about each of four pictures.
        folder: where the pictures are written.
    """

    def __init__(self, bundle: Path, question: Question, folder: Path) -> None:
        self.notices: list[str] = []
        samples = []
        for number in range(4):
            path = folder / f"{number}.png"
            pixels = np.random.default_rng(number).integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
            samples.append(Sample(path.name, path, (question,)))
        self.context: Any = SimpleNamespace(
            selection=SimpleNamespace(samples=tuple(samples)),
            draft=open_bundle(bundle),
            workspace=SimpleNamespace(scratch=folder),
            listener=Listener(notice=self.notices.append),
        )


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def test_data_with_boxes(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest gets the calibration; every second object of the random model counts as right."""

    def every_second(asked: Asked) -> NDArray[np.float64]:
        return np.arange(len(asked.result.labels)) % 2.0

    monkeypatch.setattr("f2edge.calibration.confidence.overlaps", every_second)
    compilation = Compilation(bundle, OBJECTS, tmp_path)
    calibrate_confidence(compilation.context)
    assert list(open_bundle(bundle).confidence) == ["<OD>"]
    assert compilation.notices == []


def test_too_few_right_objects(bundle: Path, tmp_path: Path) -> None:
    """The bundle keeps raw scores, and the user is told why."""
    compilation = Compilation(bundle, OBJECTS, tmp_path)
    calibrate_confidence(compilation.context)
    assert open_bundle(bundle).confidence == {}
    (notice,) = compilation.notices
    assert notice.startswith("confidences stay raw scores: 0 of ")


def test_data_without_boxes(bundle: Path, tmp_path: Path) -> None:
    """Nothing is asked, and nothing is said: such pictures are for INT8 alone."""
    compilation = Compilation(bundle, CAPTION, tmp_path)
    calibrate_confidence(compilation.context)
    assert open_bundle(bundle).confidence == {}
    assert compilation.notices == []


def test_only_compilations_with_pictures_have_the_step(tmp_path: Path) -> None:
    """It is the last one."""
    calibrated = steps_of(Options(TARGETS["cpu"], "int8", calibration=tmp_path))
    assert [step.name for step in calibrated][-2:] == ["verify", "confidence"]
    assert [step.name for step in steps_of(Options(TARGETS["cpu"], "fp32"))][-1] == "verify"
