"""Requests that are wrong: each is refused in one line that says what is wrong."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.serve.settings import Settings
from tests.support.serving import picture

if TYPE_CHECKING:
    from starlette.testclient import TestClient

TEXT = base64.b64encode(picture()).decode()

WRONG_JSON: dict[str, tuple[dict[str, Any], str]] = {
    "no task": ({"image": TEXT}, "the field task is missing"),
    "no picture": ({"task": "od"}, "a question is about one picture"),
    "two pictures": ({"task": "od", "image": TEXT, "image_id": "a"}, "a question is about one picture"),
    "unknown task": ({"task": "odd", "image": TEXT}, "did you mean od?"),
    "task of another kind": ({"task": 7, "image": TEXT}, "a task is a name"),
    "unknown field": ({"task": "od", "image": TEXT, "beams": 2}, "unknown field 'beams'"),
    "superfluous text": ({"task": "od", "image": TEXT, "text": "cat"}, "<OD> takes no text"),
    "text of another kind": ({"task": "", "image": TEXT, "text": ["cat"]}, "give it as a string"),
    "region outside": ({"task": "region_to_ocr", "image": TEXT, "region": [0, 0, 999, 9]}, "not an area inside"),
    "region of words": ({"task": "region_to_ocr", "image": TEXT, "region": "all"}, "is not a region"),
    "labels of another kind": ({"task": "od", "image": TEXT, "labels": [1]}, "label"),
    "beams": ({"task": "od", "image": TEXT, "num_beams": "three"}, "num_beams"),
    "too many tokens": ({"task": "od", "image": TEXT, "max_new_tokens": 10**6}, "this model takes"),
    "structured": ({"task": "od", "image": TEXT, "structured": 1}, "must be True or False"),
    "tile of a caption": ({"task": "caption", "image": TEXT, "tile": 64}, "tile is for tasks"),
    "tile without the picture": ({"task": "od", "image_id": "a", "tile": 64}, "tile needs the picture itself"),
    "timeout": ({"task": "od", "image": TEXT, "timeout": -1}, "positive number of seconds"),
    "not base64": ({"task": "od", "image": "???"}, "not valid base64"),
    "an address": ({"task": "od", "image": "https://example.com/a.png"}, "no address is fetched"),
    "a file": ({"task": "od", "image": "file:///etc/passwd"}, "no address is fetched"),
    "data without base64": ({"task": "od", "image": "data:image/png,abc"}, "no address is fetched"),
    "no picture in it": ({"task": "od", "image": base64.b64encode(b"hello").decode()}, "is not a picture"),
    "a number as picture": ({"task": "od", "image": 7}, "send base64 or a data URI"),
    "a long text": ({"task": "", "image": TEXT, "text": "cat " * 25_000}, "the server takes 20,000"),
    "a long prompt": ({"task": "", "image": TEXT, "text": "cat " * 4_000}, "this bundle takes"),
}


@pytest.mark.parametrize("name", WRONG_JSON)
def test_wrong_json(name: str, client: TestClient) -> None:
    """Status 400, one line."""
    fields, told = WRONG_JSON[name]
    answer = client.post("/v1/ask", json=fields)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert told in message
    assert message.isprintable()
    assert len(message) < 700


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff\xfe", "not JSON"),
        (b'{"a":' * 12_000, "more than 20,000 values"),
        (b'{"a":' * 900, "not JSON"),
        (b"[" * 5_000, "not JSON"),
        (b'{"task":' + b"9" * 9_000 + b"}", "not JSON"),
        (b"[{},{}," * 10_000, "more than 20,000 values"),
    ],
    ids=["empty", "list", "not UTF-8", "many objects", "unfinished", "nested", "a long number", "a bomb"],
)
def test_bodies_that_are_no_question(body: bytes, told: str, client: TestClient) -> None:
    """Status 400, whatever stands there."""
    answer = client.post("/v1/ask", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_types_that_are_not_read(client: TestClient) -> None:
    """Status 415."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/v1/ask", content=b"task=od", headers={"content-type": kind})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "content_type")


WRONG_FORMS: dict[str, tuple[list[tuple[str, Any]], str]] = {
    "no task": ([("image", ("a.png", picture()))], "the field task is missing"),
    "two files": ([("image", ("a.png", b"")), ("image", ("b.png", b""))], "the form cannot be read"),
    "a file as a task": ([("task", ("a.txt", b"od"))], "the field task is a file"),
    "a field twice": ([("task", (None, b"od")), ("task", (None, b"ocr"))], "the field task comes 2 times"),
    "beams": ([("task", (None, b"od")), ("num_beams", (None, b"3.5"))], "it must be a whole number"),
    "timeout": ([("task", (None, b"od")), ("timeout", (None, b"nan"))], "it must be a number"),
    "structured": ([("task", (None, b"od")), ("structured", (None, b"yes"))], "it must be true or false"),
    "region": ([("task", (None, b"od")), ("region", (None, b"1,2,3"))], "it must be x1,y1,x2,y2"),
}


@pytest.mark.parametrize("name", WRONG_FORMS)
def test_wrong_forms(name: str, client: TestClient) -> None:
    """Status 400, one line."""
    parts, told = WRONG_FORMS[name]
    answer = client.post("/v1/ask", files=parts)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_a_form_without_an_end(client: TestClient) -> None:
    """Status 400, and not an answer to a part of it."""
    kind = {"content-type": "multipart/form-data"}
    answer = client.post("/v1/ask", content=b"--x\r\n", headers=kind)
    assert "boundary" in answer.json()["error"]["message"]
    for body in (b"--x", b"garbage", b'--x\r\nContent-Disposition: form-data; name="task"\r\n\r\nod'):
        answer = client.post("/v1/ask", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
        assert answer.status_code == 400


def test_a_picture_in_a_form_stays_in_memory(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of many megabytes makes no file on the disk."""
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", lambda *_: pytest.fail("written to disk"))
    content = picture() + bytes(Settings().body_bytes - 2**16)
    answer = client.post("/v1/ask", files={"image": content}, data={"task": "od", "max_new_tokens": 3})
    assert answer.status_code == 200
