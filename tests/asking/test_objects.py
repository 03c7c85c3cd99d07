"""Objects that are handed out one by one, while their answer is decoded."""

from __future__ import annotations

import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import f2edge
from f2edge.asking.objects import Detection, ObjectReader
from f2edge.asking.stopped import AnswerCancelledError
from f2edge.bundle.writing import MANIFEST
from f2edge.decoding import Generation
from f2edge.errors import TaskError
from f2edge.tasks.table import TASKS
from tests.support.manifests import CALIBRATION

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.model import Florence2
    from f2edge.result import Result
    from f2edge.tokenizer import Tokenizer

SIZE = (1000, 1000)
BOX, OTHER_BOX = "<loc_1><loc_2><loc_300><loc_400>", "<loc_5><loc_6><loc_7><loc_8>"


@pytest.fixture(scope="module")
def tokenizer(model: Florence2) -> Tokenizer:
    """Return the tokenizer of the tiny bundle."""
    return model.tokenizer


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Florence2:
    """Open the tiny bundle."""
    return f2edge.load(tiny_bundle)


def read(task: str, text: str, tokenizer: Tokenizer) -> list[tuple[int, Detection]]:
    """Read an answer token by token; return each object with the number of tokens that it came after."""
    ids = [2, *tokenizer.encode(text)]
    reader = ObjectReader(TASKS[task], tokenizer, SIZE)
    objects: list[tuple[int, Detection]] = []
    for length in (*range(1, len(ids) + 1), len(ids)):
        beginning = Generation(tuple(ids[:length]), (-0.5,) * (length - 1), 0.0, truncated=True)
        whole = len(objects) and length == len(ids)
        objects += [(length, one) for one in reader.read(beginning, whole=bool(whole))]
    return objects


def of_result(result: Result) -> list[Detection]:
    """Return the objects of a whole answer."""
    count = len(result.labels)
    shapes: dict[str, Any] = {"box": result.boxes, "quad": result.quads, "polygons": result.polygons}
    (kind,) = [name for name, values in shapes.items() if len(values) == count] if count else ["box"]
    return [
        Detection(label, confidence, **{kind: shape}, score=score, calibrated=result.calibrated)
        for label, confidence, score, shape in zip(
            result.labels, result.confidences, result.scores, shapes[kind], strict=True
        )
    ]


def test_a_box_comes_with_its_last_location(tokenizer: Tokenizer) -> None:
    """Each box of a label comes after its own four location tokens."""
    text = f"cat{BOX}{OTHER_BOX}dog{BOX}"
    first, second, third = read("<OD>", text, tokenizer)
    beginning = len(tokenizer.encode("cat"))  # the decoder start token stands in for the end token
    assert [first[0], second[0]] == [beginning + 4, beginning + 8]
    assert [one.label for _, one in (first, second, third)] == ["cat", "cat", "dog"]
    assert first[1].box == third[1].box != second[1].box
    assert first[1].quad is None
    assert first[1].polygons is None


def test_a_quad_comes_with_its_eighth_location(tokenizer: Tokenizer) -> None:
    """A line of text is not read after four of its eight location tokens."""
    objects = read("<OCR_WITH_REGION>", f"cat{BOX}{OTHER_BOX}dog{OTHER_BOX}{BOX}", tokenizer)
    assert [one.label for _, one in objects] == ["cat", "dog"]
    assert all(one.quad and len(one.quad) == 8 for _, one in objects)


def test_a_mask_comes_with_the_end_of_the_answer(tokenizer: Tokenizer) -> None:
    """A mask may have more points, until the answer ends."""
    text = f"{BOX}{OTHER_BOX}"
    reader = ObjectReader(TASKS["<REFERRING_EXPRESSION_SEGMENTATION>"], tokenizer, SIZE)
    ids = (2, *tokenizer.encode(text))
    answer = Generation(ids, (-0.5,) * (len(ids) - 1), 0.0, truncated=False)
    for length in range(1, len(ids)):
        assert not list(reader.read(Generation(ids[:length], (-0.5,) * (length - 1), 0.0, truncated=True), whole=False))
    (mask,) = reader.read(answer, whole=True)
    assert mask.polygons
    assert len(mask.polygons[0]) == 8


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("task", ["od", "ocr_with_region", "region_proposal", "dense_region_caption"])
def test_streamed_objects_are_those_of_the_answer(task: str, seed: int, beams: int, model: Florence2) -> None:
    """Streamed objects have the labels, shapes and confidences of the whole answer, in its order."""
    picture = np.random.default_rng(seed).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    encoded = model.encode(picture)
    whole = encoded.run(task, num_beams=beams, max_new_tokens=40)
    assert list(encoded.stream_objects(task, num_beams=beams, max_new_tokens=40)) == of_result(whole)


@pytest.mark.parametrize("beams", [1, 3])
def test_streams_and_batches_have_calibrated_confidences(beams: int, tiny_bundle: Path, tmp_path: Path) -> None:
    """The calibration of the manifest gives the same confidences to run, run_many and stream_objects."""
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps(manifest | {"confidence": {"<OD>": CALIBRATION}}))
    with f2edge.load(bundle, threads=1) as model:
        encoded = model.encode(np.random.default_rng(1).integers(0, 256, (80, 90, 3), dtype=np.uint8))
        settings: dict[str, Any] = {"num_beams": beams, "max_new_tokens": 40, "structured": True}
        whole = encoded.run("od", **settings)
        together = list(encoded.run_many([f2edge.Ask(None, task, **settings) for task in ("od", "region_proposal")]))
        streamed = list(encoded.stream_objects("od", **settings))
    assert whole.calibrated
    assert len(whole.confidences) > 1
    assert whole.confidences != whole.scores
    assert [together[0].calibrated, together[1].calibrated] == [True, False]
    np.testing.assert_allclose(together[0].confidences, whole.confidences, atol=1e-4)
    assert [(one.confidence, one.score, one.calibrated) for one in streamed] == [
        (confidence, score, True) for confidence, score in zip(whole.confidences, whole.scores, strict=True)
    ]


def test_a_task_without_objects_is_refused(model: Florence2) -> None:
    """Captions have no objects to stream; the call says so before anything is computed."""
    encoded = model.encode(np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(TaskError, match="task <CAPTION> locates no objects; stream yields its text"):
        encoded.stream_objects("caption")


def test_cancelled_objects(model: Florence2) -> None:
    """A cancelled stream of objects ends in an error."""
    event = threading.Event()
    encoded = model.encode(np.zeros((40, 40, 3), np.uint8))
    objects = encoded.stream_objects("od", cancel=event)
    event.set()
    with pytest.raises(AnswerCancelledError):
        list(objects)
