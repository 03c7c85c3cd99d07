"""Read a question in the form of OpenAI's chat completions: the task is named in the text of the prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from f2edge.lines import shown
from f2edge.serve.questions import Wanted
from f2edge.serve.reading import decode_picture, parse_region
from f2edge.serve.refusals import Refusal, bad_request
from f2edge.tasks.table import TASKS, resolve

if TYPE_CHECKING:
    from f2edge.tasks.table import Task

_NAMED = re.compile(r"\s*(<[A-Za-z0-9_]+>)(.*)", re.DOTALL)
_PIXELS = re.compile(r"[\d.,\s]+")

_OWN = ("labels", "num_beams", "region", "structured", "tile", "timeout")
"""Fields of /v1/ask that a request may have beside those of OpenAI."""

_READ = ("model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", *_OWN)
_WITHOUT_EFFECT = (
    *("metadata", "parallel_tool_calls", "prompt_cache_key", "safety_identifier", "seed", "service_tier", "store"),
    *("tool_choice", "user"),
)
"""Fields that change nothing of a greedy or a beam search over one picture."""

_ONLY: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "temperature": (0,),
    "top_p": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logprobs": (False,),
    "tools": ([],),
    "stop": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
}
"""Fields that ask for something that this server does not do, and the values of them that do not."""


@dataclass(frozen=True)
class Chat:
    """A request for a chat completion.

    Args:
        wanted: the question.
        model: the name of the model that is asked; None for whichever there is.
        stream: whether the answer comes in chunks.
        include_usage: whether the last chunk tells the numbers of tokens.
    """

    wanted: Wanted
    model: str | None
    stream: bool
    include_usage: bool


def read_chat(value: dict[str, Any], most_tokens: int) -> Chat:
    """Return what a request asks.

    Args:
        value: the body of the request.
        most_tokens: the longest answer of the model; a larger bound means this one.

    Raises:
        Refusal: it is wrong, or wants what this server does not do.
        InputError: the task is unknown.
    """
    _refuse_what_is_not_done(value)
    text, url = _last_question(value.get("messages"))
    task, rest = split_prompt(text)
    own: dict[str, Any] = {name: value[name] for name in _OWN if value.get(name) is not None}
    limits = [value[name] for name in ("max_completion_tokens", "max_tokens") if value.get(name) is not None]
    if limits:
        own["max_new_tokens"] = min(limits[0], most_tokens) if isinstance(limits[0], int) else limits[0]
    wanted = Wanted(task.name, decode_picture(url), **{**own, **_input(task, rest)})
    options = value.get("stream_options") or {}
    usage = isinstance(options, dict) and options.get("include_usage") is True
    return Chat(wanted, value.get("model"), value.get("stream") is True, usage)


def split_prompt(text: str) -> tuple[Task, str]:
    """Return the task that a prompt names, and the rest of it: ``<OD>``, ``od`` or ``<OCR_WITH_REGION> ...``.

    A prompt without the name of a task is a free prompt, which the model gets as it is.

    Raises:
        TaskError: what stands in angle brackets is no task.
    """
    bare = text.strip().upper()
    if f"<{bare}>" in TASKS:
        return resolve(bare), ""
    if (named := _NAMED.fullmatch(text)) and not named[1].startswith("<loc_"):
        return resolve(named[1]), named[2].strip()
    return resolve(""), text


def _input(task: Task, rest: str) -> dict[str, Any]:
    """Return the input of a task: a text, or the numbers of a region."""
    if not rest:
        return {}
    if task.input == "region" and _PIXELS.fullmatch(rest):
        return {"region": parse_region("the region", rest)}
    return {"text": rest}


def _refuse_what_is_not_done(value: dict[str, Any]) -> None:
    for name, given in value.items():
        if given is None or name in _READ or name in _WITHOUT_EFFECT:
            continue
        if name not in _ONLY:
            raise bad_request(f"unknown field {shown(name)}")
        if given not in _ONLY[name]:
            raise bad_request(f"{name} is {shown(given)}, which this server does not do: leave it out")


def _last_question(messages: object) -> tuple[str, object]:
    """Return the text of the last message, and the URL of the last picture in all of them."""
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages is missing; send one message with a picture and the name of a task")
    asked = [_parts(message) for message in messages]
    roles = {message.get("role") for message in messages}
    if roles - {"user", "assistant"} or messages[-1].get("role") != "user":
        raise bad_request("the model takes messages of user and assistant, and answers the last one, of user")
    texts = [part.get("text") for part in asked[-1] if part.get("type") == "text"]
    urls = [[_url(part) for part in parts if part.get("type") == "image_url"] for parts in asked]
    if len(urls[-1]) > 1:
        raise bad_request("a question is about one picture; send one image_url")
    if not any(urls):
        raise bad_request("there is no picture: send it as image_url with a data URI")
    if not all(isinstance(text, str) for text in texts):
        raise bad_request("a part of type text has no text")
    return " ".join(map(str, texts)), [url for message in urls for url in message][-1]


def _parts(message: object) -> list[dict[str, Any]]:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise bad_request("the content of a message is neither a text nor a list of parts")
    for part in content:
        if part.get("type") not in {"text", "image_url"}:
            raise bad_request(f"a part is of type {shown(part.get('type'))}; known are text and image_url")
    return content


def _url(part: dict[str, Any]) -> object:
    value = part.get("image_url")
    url = value.get("url") if isinstance(value, dict) else value
    if not isinstance(url, str) or ":" not in url[:10]:
        raise Refusal(400, "bad_image", "image_url has no data URI: data:image/jpeg;base64,...")
    return url
