"""Answers as server-sent events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.errors import DeviceError
from tests.serve.test_app import untimed
from tests.support.serving import gated, picture

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from f2edge.model import Florence2


def events_of(client: TestClient, **fields: Any) -> list[tuple[str, Any]]:
    """Ask, and return the events by name and data."""
    answer = client.post("/v1/stream", files={"image": picture()}, data=fields)
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in answer.text.removesuffix("\n\n").split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_comes_in_pieces(beams: int, client: TestClient, model: Florence2) -> None:
    """Joined they are the text, and the last event is the record of ``/v1/ask``."""
    (first, image), *pieces, (last, record) = events_of(client, task="caption", num_beams=beams, max_new_tokens=12)
    expected = model.run(picture(), "caption", num_beams=beams, max_new_tokens=12)
    assert (first, last) == ("image", "answer")
    assert image == {"image_id": record["image_id"], "image_size": [120, 90]}
    assert {name for name, _ in pieces} <= {"text"}
    assert "".join(data["text"] for _, data in pieces).strip() == expected.plain_text
    assert untimed(record) == untimed(expected.to_json())


@pytest.mark.parametrize(
    ("task", "fields", "form"),
    [
        ("od", {"structured": "true", "max_new_tokens": 30}, "box"),
        ("ocr_with_region", {"structured": "true", "max_new_tokens": 30}, "quad"),
        ("region_to_segmentation", {"structured": "true", "region": "1,1,50,50", "max_new_tokens": 30}, "polygons"),
        ("od", {"tile": "60", "num_beams": "1", "structured": "true", "max_new_tokens": 20}, "box"),
    ],
    ids=["boxes", "quads", "polygons", "tiles"],
)
def test_objects_come_one_by_one(task: str, fields: dict[str, Any], form: str, client: TestClient) -> None:
    """They are those of the record, in its order."""
    _, *objects, (_, record) = events_of(client, task=task, **fields)
    places = record[{"box": "boxes", "quad": "quads", "polygons": "polygons"}[form]]
    assert places
    assert [data[form] for _, data in objects] == places
    assert [data["label"] for _, data in objects] == record["labels"]
    assert [data["confidence"] for _, data in objects] == record["confidences"]


def test_what_is_wrong_at_once_has_a_status(client: TestClient) -> None:
    """No stream begins."""
    for fields in ({"task": "odd"}, {"task": "region_to_ocr", "region": "0,0,999,9"}):
        answer = client.post("/v1/stream", files={"image": picture()}, data=fields)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "bad_question"


def test_what_fails_later_is_the_last_event(
    client: TestClient, model: Florence2, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that fails in the middle ends the stream with an error."""
    with gated(model) as gate:
        gate.remove()
        monkeypatch.setattr(gate, "pass_through", _fails)
        *_, (last, data) = events_of(client, task="caption")
    assert last == "error"
    assert data["error"]["code"] == "device"


def _fails() -> None:
    raise DeviceError("the engine failed")
