"""The addresses of the server: what each answers, and that the answers are those of ``model.run``."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from f2edge.serve.app import create_app
from f2edge.serve.settings import Settings
from f2edge.tasks.table import TASKS
from tests.support import schemas
from tests.support.serving import picture

if TYPE_CHECKING:
    from starlette.routing import Route

    from f2edge.model import Florence2

UNTIMED = ("timings_ms", "image_id", "image_size")


def untimed(record: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a record what differs from run to run."""
    return {name: value for name, value in record.items() if name not in UNTIMED}


QUESTIONS: dict[str, dict[str, Any]] = {
    "beams": {"task": "od"},
    "greedy": {"task": "<CAPTION>", "num_beams": 1, "max_new_tokens": 7},
    "text": {"task": "caption_to_phrase_grounding", "text": "a cat"},
    "region": {"task": "region_to_category", "region": [10, 10, 60, 50]},
    "labels": {"task": "od", "labels": ["cat", "dog"]},
    "structured": {"task": "od", "structured": True},
    "tiles": {"task": "od", "tile": 80, "num_beams": 1},
    "free prompt": {"task": "", "text": "what is it?"},
}


def form_of(question: dict[str, Any]) -> dict[str, Any]:
    """Write the fields of a question as a form has them."""
    form = {**question, **({"structured": "true"} if "structured" in question else {})}
    return {**form, **({"region": ",".join(map(str, form["region"]))} if "region" in form else {})}


@pytest.mark.parametrize("name", QUESTIONS)
def test_answers_are_those_of_the_model(name: str, client: TestClient, model: Florence2) -> None:
    """A form, JSON with base64 and JSON with a data URI get the record of ``f2edge run --json``, token for token."""
    content, question = picture(), {"max_new_tokens": 12, **QUESTIONS[name]}
    text = base64.b64encode(content).decode()
    answers = [
        client.post("/v1/ask", files={"image": content}, data=form_of(question)),
        client.post("/v1/ask", json={"image": text, **question}),
        client.post("/v1/ask", json={"image": f"data:image/png;base64,{text}", **question}),
    ]
    expected = untimed(model.run(content, **question).to_json())
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert untimed(answer.json()) == expected
        assert answer.json()["image_size"] == [120, 90]
        schemas.check("run", {key: answer.json()[key] for key in answer.json() if key not in UNTIMED[1:]}, RESULT)


RESULT = "#/$defs/result"


def test_a_second_question_needs_no_picture(client: TestClient, model: Florence2) -> None:
    """A picture is named by its id, and is not encoded again."""
    first = client.post("/v1/ask", files={"image": picture(5)}, data={"task": "caption"}).json()
    second = client.post("/v1/ask", json={"image_id": first["image_id"], "task": "od"})
    assert untimed(second.json()) == untimed(model.run(picture(5), "od").to_json())
    assert second.json()["timings_ms"]["vision"] == first["timings_ms"]["vision"]


def test_a_picture_that_is_not_kept(client: TestClient) -> None:
    """The client is told to send it again."""
    answer = client.post("/v1/ask", json={"image_id": "0" * 32, "task": "od"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "image_gone"


def test_tasks(client: TestClient) -> None:
    """All tasks are listed, and a free prompt."""
    tasks = client.get("/v1/tasks").json()
    assert [task["name"] for task in tasks] == [*TASKS, ""]
    detection = {"task": "od", "name": "<OD>", "input": "none", "answer": "boxes"}
    assert tasks[5] == {**detection, "takes_labels": True, "takes_tiles": True}


def test_the_model_is_described_without_a_path(client: TestClient, model: Florence2) -> None:
    """Name and limits are there, the directory is not."""
    described = client.get("/v1/model").json()
    assert described["name"] == model.bundle.path.name
    assert described["limits"]["body_bytes"] == 20 * 2**20
    assert str(model.bundle.path.parent) not in json.dumps(described)


def test_health(model: Florence2) -> None:
    """A server that is about to end lives, but is not ready, and takes no question."""
    app = create_app(model)
    client = TestClient(app, base_url="http://localhost")
    assert client.get("/health/ready").status_code == 200
    app.state.service.draining = True
    assert client.get("/health/live").status_code == 200
    refused = [
        client.get("/health/ready"),
        client.post("/v1/ask", files={"image": picture()}, data={"task": "od"}),
        client.post("/v1/stream", files={"image": picture()}, data={"task": "od"}),
        client.post("/v1/chat/completions", json={}),
    ]
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)


def test_addresses_that_are_not_there(client: TestClient) -> None:
    """Errors of the router have the form of all others."""
    missing, wrong = client.get("/v1/nothing"), client.put("/v1/ask")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"], wrong.headers["allow"]) == (405, "method", "POST")


def test_metrics_count_what_happened(model: Florence2) -> None:
    """Answers, tokens and refusals are counted; what a request says makes no new label."""
    client = TestClient(create_app(model), base_url="http://localhost")
    answer = client.post("/v1/ask", files={"image": picture()}, data={"task": "od", "max_new_tokens": 5}).json()
    client.post("/v1/ask", json={"task": "od"})
    client.get("/made/up")
    lines = client.get("/metrics").text.splitlines()
    assert 'f2edge_requests_total{route="/v1/ask",status="200"} 1.0' in lines
    assert 'f2edge_requests_total{route="other",status="404"} 1.0' in lines
    assert 'f2edge_answers_total{task="<OD>"} 1.0' in lines
    assert f"f2edge_tokens_total {float(len(answer['token_ids']) - 1)}" in lines
    assert 'f2edge_refusals_total{code="bad_request"} 1.0' in lines
    assert "f2edge_pictures_kept 1.0" in lines
    assert "made" not in client.get("/metrics").text


def test_the_openapi_document(model: Florence2) -> None:
    """It is valid, names every address beside the page, and knows whether there is a token."""
    app = create_app(model, Settings(token="t" * 16))
    client = TestClient(app, base_url="http://localhost", headers={"authorization": f"Bearer {'t' * 16}"})
    document = client.get("/openapi.json").json()
    validate(document)
    routes: list[Route] = app.routes  # type: ignore[assignment]
    assert set(document["paths"]) == {route.path for route in routes} - {"/", "/page/{name}"}
    assert document["security"] == [{"token": []}]
    assert "security" not in TestClient(create_app(model), base_url="http://localhost").get("/openapi.json").json()


def test_a_failure_is_told_in_one_line_and_logged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns nothing of the inside; the log has the traceback."""
    monkeypatch.setattr("f2edge.serve.service.Pictures.id_of", lambda *_: 1 / 0)
    answer = client.post("/v1/ask", files={"image": picture()}, data={"task": "od"})
    assert answer.status_code == 500
    assert answer.json()["error"] == {
        "code": "internal",
        "message": "the server failed; its log says why",
        "type": "server_error",
        "param": None,
    }
    assert "ZeroDivisionError" in caplog.text
