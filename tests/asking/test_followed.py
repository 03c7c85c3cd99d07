"""An answer whose parts are handed out while it is decoded is the one that ``run`` gives."""

from __future__ import annotations

from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest

import f2edge
from f2edge.asking.stopped import StoppedError
from f2edge.errors import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PICTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def image(tiny_bundle: Path) -> Iterator[f2edge.EncodedImage]:
    """Return a picture that the tiny model has encoded."""
    with f2edge.load(tiny_bundle) as model:
        yield model.encode(PICTURE)


def untimed(result: f2edge.Result) -> f2edge.Result:
    """Return a result without its times."""
    return replace(result, timings_ms={})


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize(("task", "structured"), [("caption", False), ("od", False), ("od", True)])
def test_the_last_item_is_the_result(task: str, structured: bool, beams: int, image: f2edge.EncodedImage) -> None:
    """With the same tokens, scores, steps and names of times as ``run``."""
    *_, result = image.follow(task, structured=structured, num_beams=beams, max_new_tokens=24)
    expected = image.run(task, structured=structured, num_beams=beams, max_new_tokens=24)
    assert isinstance(result, f2edge.Result)
    assert untimed(result) == untimed(expected)
    assert result.timings_ms.keys() == expected.timings_ms.keys()


def test_the_parts_are_objects_or_pieces_of_text(image: f2edge.EncodedImage) -> None:
    """Those of ``stream_objects`` and of ``stream``."""
    *objects, _ = image.follow("od", structured=True, max_new_tokens=30)
    assert objects
    assert objects == list(image.stream_objects("od", structured=True, max_new_tokens=30))
    *pieces, _ = image.follow("caption", num_beams=1, max_new_tokens=9)
    assert pieces == list(image.stream("caption", max_new_tokens=9))


def test_a_stopped_answer_tells_what_was_decided(image: f2edge.EncodedImage) -> None:
    """Its error has the result until then."""
    cancel = Event()
    parts = image.follow("caption", num_beams=1, max_new_tokens=9, cancel=cancel)
    pieces = [next(parts)]
    cancel.set()
    with pytest.raises(StoppedError) as stopped:
        pieces.extend(parts)  # type: ignore[arg-type]
    assert stopped.value.result is not None
    assert stopped.value.result.truncated
    assert stopped.value.result.plain_text == "".join(map(str, pieces)).strip()


def test_a_wrong_question_is_refused_at_the_call(image: f2edge.EncodedImage) -> None:
    """Before anything is read."""
    with pytest.raises(TaskError, match="takes no text"):
        image.follow("od", "cat")
