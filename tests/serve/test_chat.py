"""OpenAI's client, unmodified, against the server; and what requests in its form may say."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from f2edge.serve.settings import Settings
from tests.serve.test_app import untimed
from tests.support.serving import picture, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from f2edge.model import Florence2

TOKEN = "0123456789abcdef"  # noqa: S105
URL = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"


@pytest.fixture(scope="module")
def official(model: Florence2) -> Iterator[openai.OpenAI]:
    """Return the official client of a server that wants a token."""
    with (
        serving(model, Settings(port=0, token=TOKEN)) as live,
        openai.OpenAI(base_url=f"{live.url}/v1", api_key=TOKEN, max_retries=0) as client,
    ):
        yield client


def message(text: str, url: str = URL) -> dict[str, Any]:
    """Return a message about a picture."""
    return {"role": "user", "content": [picture_part(url), {"type": "text", "text": text}]}


def picture_part(url: str = URL) -> dict[str, Any]:
    """Return the part of a message that is a picture."""
    return {"type": "image_url", "image_url": {"url": url}}


def complete(client: openai.OpenAI, model: Florence2, *messages: dict[str, Any], **more: Any) -> Any:
    """Ask for a completion."""
    return client.chat.completions.create(model=model.bundle.path.name, messages=list(messages), **more)  # type: ignore[call-overload]


def test_a_text(official: openai.OpenAI, model: Florence2) -> None:
    """The content is the text; the numbers of tokens count picture and prompt; the record is there, too."""
    completion = complete(official, model, message("<CAPTION>"), max_completion_tokens=9)
    expected = model.run(picture(), "caption", max_new_tokens=9)
    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", expected.plain_text)
    assert choice.finish_reason == "length"
    assert completion.usage.completion_tokens == len(expected.token_ids) - 1
    asked = model.bundle.geometry.num_image_tokens + len(model.prompt_ids("What does the image describe?"))
    assert completion.usage.prompt_tokens == asked
    assert untimed(completion.model_extra["f2edge"]) == untimed(expected.to_json())


def test_what_was_located_is_json(official: openai.OpenAI, model: Florence2) -> None:
    """In Microsoft's schema."""
    completion = complete(official, model, message("od"))
    assert json.loads(completion.choices[0].message.content) == model.run(picture(), "od").to_json()["result"]


@pytest.mark.parametrize("task", ["caption", "od"])
def test_a_stream(task: str, official: openai.OpenAI, model: Florence2) -> None:
    """The pieces joined are the content of the whole, and usage comes last."""
    whole = complete(official, model, message(task), max_tokens=12)
    chunks = list(
        complete(official, model, message(task), max_tokens=12, stream=True, stream_options={"include_usage": True})
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_the_model_is_listed(official: openai.OpenAI, model: Florence2) -> None:
    """Under the name of its bundle."""
    (listed,) = official.models.list().data
    assert listed.id == model.bundle.path.name
    assert official.models.retrieve(listed.id) == listed
    with pytest.raises(openai.NotFoundError):
        official.models.retrieve("gpt")


def test_errors_are_those_of_openai(official: openai.OpenAI, model: Florence2) -> None:
    """The client raises its own errors, with the line of the server."""
    with pytest.raises(openai.BadRequestError, match="no address is fetched"):
        complete(official, model, message("od", "https://example.com/a.png"))
    with pytest.raises(openai.NotFoundError, match="this server has"):
        official.chat.completions.create(model="gpt", messages=[message("od")])  # type: ignore[list-item]
    with pytest.raises(openai.AuthenticationError):
        complete(official.with_options(api_key="wrong"), model, message("od"))


PROMPTS: dict[str, tuple[str, dict[str, Any]]] = {
    "name": (" od\n", {"task": "od"}),
    "brackets": ("<OD>", {"task": "od"}),
    "small letters": ("<od>", {"task": "od"}),
    "text": ("<CAPTION_TO_PHRASE_GROUNDING> a cat", {"task": "caption_to_phrase_grounding", "text": "a cat"}),
    "pixels": ("<REGION_TO_CATEGORY> 10,10, 60,50", {"task": "region_to_category", "region": [10, 10, 60, 50]}),
    "tokens": ("<REGION_TO_OCR><loc_1><loc_2><loc_9><loc_9>", {"task": "region_to_ocr", "text": "<loc_1>" * 4}),
    "free": ("What is in it?", {"task": "", "text": "What is in it?"}),
}


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts(name: str, client: TestClient, model: Florence2) -> None:
    """The task is named in the prompt."""
    prompt, question = PROMPTS[name]
    if name == "tokens":
        question = {**question, "text": "<loc_1><loc_2><loc_9><loc_9>"}
    answer = client.post("/v1/chat/completions", json={"messages": [message(prompt)], "max_tokens": 5})
    expected = model.run(picture(), **question, max_new_tokens=5).to_json()
    assert untimed(answer.json()["f2edge"]) == untimed(expected)


def test_a_conversation_keeps_its_picture(client: TestClient, model: Florence2) -> None:
    """The last message is asked, about the last picture, with options of this server beside those of OpenAI."""
    messages = [message("caption"), {"role": "assistant", "content": "a cat"}, {"role": "user", "content": "od"}]
    own = {"labels": ["cat"], "num_beams": 1, "max_tokens": 10**9, "temperature": 0, "user": "me", "seed": 1}
    answer = client.post("/v1/chat/completions", json={"messages": messages, **own})
    expected = model.run(picture(), "od", labels=["cat"], num_beams=1).to_json()
    assert untimed(answer.json()["f2edge"]) == untimed(expected)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({}, "messages is missing"),
    "messages of another kind": ({"messages": "od"}, "messages is missing"),
    "no message": ({"messages": [7]}, "the content of a message"),
    "no content": ({"messages": [{"role": "user"}]}, "the content of a message"),
    "no picture": ({"messages": [{"role": "user", "content": "od"}]}, "there is no picture"),
    "two pictures": (
        {"messages": [{"role": "user", "content": [picture_part(), picture_part()]}]},
        "a question is about one picture",
    ),
    "a system message": ({"messages": [{"role": "system", "content": "be kind"}, message("od")]}, "user and assistant"),
    "the assistant last": ({"messages": [message("od"), {"role": "assistant", "content": "a"}]}, "answers the last"),
    "sound": ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "a part is of type"),
    "no text": ({"messages": [{"role": "user", "content": [picture_part(), {"type": "text"}]}]}, "has no text"),
    "no data": ({"messages": [message("od", "a.png")]}, "has no data URI"),
    "unknown task": ({"messages": [message("<OOD>")]}, "unknown task"),
    "sampling": ({"messages": [message("od")], "temperature": 0.7}, "temperature is 0.7"),
    "choices": ({"messages": [message("od")], "n": 2}, "n is 2"),
    "tools": ({"messages": [message("od")], "tools": [{}]}, "tools is"),
    "unknown field": ({"messages": [message("od")], "beams": 3}, "unknown field 'beams'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_requests(name: str, client: TestClient) -> None:
    """What cannot be done is refused, not left out."""
    fields, told = WRONG[name]
    answer = client.post("/v1/chat/completions", json=fields)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]
