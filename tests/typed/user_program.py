"""A user's program for the type checker; tests/test_public_types.py checks it, and nothing runs it.

A comment ``type: ignore[...]`` marks a line that must be an error; the checker reports an unneeded one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from typing_extensions import assert_type

import f2edge
from f2edge.tasks.answer_types import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def captions(model: f2edge.Florence2, pictures: list[Path]) -> Iterator[str]:
    """Use the answer of a text task, which is a string."""
    for picture in pictures:
        result = model.run(picture, "caption")
        assert_type(result, f2edge.Result)
        assert_type(result.answer["<CAPTION>"], str)
        yield result.answer["<CAPTION>"].upper()
        yield result.plain_text


def answers_of_each_kind(result: f2edge.Result) -> None:
    """Use the answers of the other tasks, which have fixed keys with lists of a known depth."""
    assert_type(result.answer["<OD>"]["bboxes"], list[list[float]])
    assert_type(result.answer["<OD>"]["labels"], list[str])
    assert_type(result.answer["<OD>"].get("scores"), list[float] | None)
    assert_type(result.answer["<CAPTION_TO_PHRASE_GROUNDING>"]["bboxes"], list[list[float]])
    assert_type(result.answer["<OCR_WITH_REGION>"]["quad_boxes"], list[list[float]])
    assert_type(result.answer["<REGION_TO_SEGMENTATION>"]["polygons"], list[list[list[float]]])
    assert_type(result.answer["<OPEN_VOCABULARY_DETECTION>"]["bboxes_labels"], list[str])


def an_answer_by_a_variable(result: f2edge.Result) -> str:
    """Use the answer of a task known only at run time, whose type the user has to check."""
    answer = result.answer[result.task]
    assert_type(answer, Answer)
    free = result.answer[""]
    assert_type(free, str)
    return answer if isinstance(answer, str) else ", ".join(answer.keys())


def boxes(result: f2edge.Result) -> NDArray[np.float64]:
    """Use boxes as tuples, and as arrays for NumPy."""
    for label, (x1, y1, x2, y2), confidence in zip(result.labels, result.boxes, result.confidences, strict=True):
        assert_type(label, str)
        assert_type((x2 - x1) * (y2 - y1) * confidence, float)
    first: tuple[float, ...] = result.boxes[0]
    assert_type(len(first), int)
    return np.asarray(result.boxes, np.float64)


def handed_over(result: f2edge.Result) -> list[dict[str, Any]]:
    """Give categories as any mapping, and get entries that JSON can hold."""
    result.to_supervision({"car": 0})
    return [*result.to_coco(1), *result.to_coco("street.jpg", categories={"car": 1})]


def regions(image: f2edge.EncodedImage, result: f2edge.Result) -> list[str]:
    """Give a region as any sequence of four numbers."""
    asked = [
        image.run("region_to_category", region=(1, 2, 30, 40)),
        image.run("region_to_category", region=[1.0, 2.0, 30.0, 40.0]),
        image.run("region_to_category", region=result.boxes[0]),
        image.run("region_to_category", region=np.asarray(result.boxes)[0]),
        image.run("region_to_category", region=result.answer["<OD>"]["bboxes"][0]),
    ]
    return [answer.answer["<REGION_TO_CATEGORY>"] for answer in asked]


def main(path: str | Path) -> None:
    """Use every kind of picture, streaming, drawing, settings and errors."""
    model = f2edge.load(path, "CPU", threads=2, on_mismatch="fallback")
    pixels = np.zeros((8, 8, 3), np.uint8)
    for source in ("street.jpg", Path("street.jpg"), b"...", Image.new("RGB", (8, 8)), pixels):
        try:
            result = model.run(source, "od", num_beams=1, max_new_tokens=20)
        except f2edge.F2EdgeError as error:
            print(error)  # noqa: T201
        else:
            f2edge.draw(source, result).save("boxes.png")
    image = model.encode(pixels)
    assert_type("".join(image.stream("more_detailed_caption")), str)
    settings = f2edge.GenerationSettings(num_beams=5, early_stopping="never")
    image.run("", "what is this?", settings=settings).to_json()
    assert_type(f2edge.open_bundle(path), f2edge.Bundle)


def mistakes(model: f2edge.Florence2, result: f2edge.Result) -> None:
    """Make mistakes that must not pass."""
    result.answer["<CAPTION>"]["bboxes"]  # type: ignore[index]
    result.answer["<OD>"].upper()  # type: ignore[attr-defined]
    result.answer["<OD>"]["quad_boxes"]  # type: ignore[typeddict-item]
    model.run("street.jpg", "region_to_category", region="1,2,30,40")  # type: ignore[arg-type]
    model.run("street.jpg", "od", beams=3)  # type: ignore[call-arg]
    f2edge.load("bundle", on_mismatch="ignore")  # type: ignore[arg-type]
    result.boxes = ()  # type: ignore[misc, assignment]


def frames(model: f2edge.Florence2) -> Iterator[str]:
    """Use frames of a video as pictures, and answers about frames."""
    with f2edge.frames("street.mp4", every=1) as video:
        for frame in video:
            assert_type(frame, f2edge.Frame)
            yield model.run(frame, "caption").plain_text
    for seen in model.run_frames(0, "od", unchanged=8):
        assert_type(seen.result, f2edge.Result)
        assert_type(seen.frame, f2edge.Frame)
    for seen in model.run_frames((f2edge.from_bgr(np.zeros((4, 4, 3), np.uint8)) for _ in range(3)), "od"):
        assert_type(seen.reused, bool)
    model.run_frames(None, "od")  # type: ignore[arg-type]


def feature_maps(path: Path) -> None:
    """Use the maps of a backbone."""
    with f2edge.load_backbone(path, "CPU", threads=2) as backbone:
        assert_type(backbone, f2edge.Backbone)
        for source in ("street.jpg", Image.new("RGB", (8, 8)), np.zeros((1, 3, 32, 32), np.float32)):
            for level, values in backbone.features(source).items():
                assert_type(level, str)
                assert_type(values.dtype, np.dtype[np.float32])
        assert_type([level.num_chs for level in backbone.levels.feature_info], list[int])
