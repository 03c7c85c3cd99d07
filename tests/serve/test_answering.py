"""What is done once for a question: its prompt is built, its picture encoded."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.serve.test_app import untimed
from tests.support.serving import picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from f2edge.model import Florence2

REGION = {"task": "region_to_category", "region": [10, 10, 60, 60]}


class Counted:
    """Something whose methods are counted when they are called."""

    def __init__(self, counted: Any, counts: Counter[str]) -> None:
        self._counted, self._counts = counted, counts

    def __getattr__(self, name: str) -> Any:
        self._counts[name] += 1
        return getattr(self._counted, name)


@contextmanager
def counting(model: Florence2) -> Iterator[Counter[str]]:
    """Count what is asked of the tokenizer and the runtime of a model."""
    counts, parts = Counter[str](), (model.tokenizer, model.runtime)
    model.tokenizer = Counted(parts[0], counts)  # type: ignore[assignment]
    model._runtime = Counted(parts[1], counts)  # type: ignore[assignment]
    try:
        yield counts
    finally:
        model.tokenizer, model._runtime = parts


def post(client: TestClient, path: str = "/v1/ask", **question: Any) -> Any:
    """Ask something about a picture that comes with the question, or whose id does."""
    if "image_id" in question:
        return client.post(path, json=question)
    form = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in question.items()}
    return client.post(path, data=form, files={"image": picture(7, (300, 200))})


@pytest.mark.parametrize("path", ["/v1/ask", "/v1/stream"])
@pytest.mark.parametrize(
    "question", [{"task": "od"}, {"task": "caption_to_phrase_grounding", "text": "a"}, REGION], ids=str
)
def test_a_prompt_is_built_once(question: dict[str, Any], path: str, client: TestClient, model: Florence2) -> None:
    """Whether the picture comes with the question or came before, and whether the prompt needs its size or not."""
    image_id = post(client, task="od", max_new_tokens=1).json()["image_id"]
    for about in ({}, {"image_id": image_id}):
        with counting(model) as counts:
            assert post(client, path, **about, **question, max_new_tokens=2).status_code == 200
        assert counts["encode"] == 1


def test_the_whole_picture_is_encoded_once_for_tiles(client: TestClient, model: Florence2) -> None:
    """The second question about it encodes the tiles alone; the answers are those of the model."""
    question = {"task": "od", "tile": 200, "num_beams": 1, "max_new_tokens": 4}
    expected = untimed(model.run(picture(8, (300, 200)), **question).to_json())
    for pictures in (3, 2):
        with counting(model) as counts:
            answer = client.post("/v1/ask", data=question, files={"image": picture(8, (300, 200))})
        assert untimed(answer.json()) == expected
        assert counts["encode_image"] == pictures
