"""Clients of a server that ask whole questions, streams and second questions, and others that do not behave.

They hang up within a body or an answer, send bodies that are too large, broken pictures, and bodies with a pause in the
middle.  Every answer is compared with that of ``model.run``, token for token.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
from served import TIMEOUT, form_request, picture, posted, request

if TYPE_CHECKING:
    from served import Server

    import f2edge

_PICTURES = 12
_QUESTIONS = (
    {"task": "caption", "num_beams": 1},
    {"task": "od", "num_beams": 1},
    {"task": "caption_to_phrase_grounding", "text": "a red circle", "num_beams": 2},
    {"task": "od", "structured": True, "num_beams": 1},
)
_TOKENS = 24
_BODY_LIMIT = 20 * 2**20
_BEHAVIOUR = {
    "ask": 10,
    "stream": 3,
    "second question": 3,
    "hangs up within the answer": 2,
    "hangs up within the body": 2,
    "too large": 1,
    "broken picture": 2,
    "slow": 1,
}
"""What clients do, and how often, in parts."""
_OUTCOMES = {"too large": "413", "broken picture": "400", **dict.fromkeys(list(_BEHAVIOUR)[3:5], "gone")}
"""How what clients do has to end, where not with the right answer."""


class Clients:
    """Clients that behave, and others that do not.

    Args:
        server: the server that they ask.
        expected: the tokens of the answer to each question about each picture.
    """

    def __init__(self, server: Server, expected: dict[tuple[int, int], list[int]]) -> None:
        self._server, self._expected = server, expected
        self._client = httpx.Client(base_url=server.url, timeout=TIMEOUT)

    def ask(self, run: int) -> str:
        """Do something by chance, and return what it was and how it ended."""
        chance = random.Random(run)  # noqa: S311
        (what,) = chance.choices(list(_BEHAVIOUR), list(_BEHAVIOUR.values()))
        seed, number = chance.randrange(_PICTURES), chance.randrange(len(_QUESTIONS))
        # bytes behind the end of the file: the same pixels, but a picture that the server has not seen
        content = picture(seed) + (run.to_bytes(8, "big") if run % 2 else b"")
        action = getattr(self, "_" + what.replace(" ", "_"))
        try:
            return f"{what}: {action(content, seed, number)}"
        except (httpx.HTTPError, OSError) as error:
            return f"{what}: UNANSWERED {type(error).__name__}"

    def _ask(self, content: bytes, seed: int, number: int) -> str:
        return self._judged(posted(self._client, content, self._question(number)), seed, number)

    def _second_question(self, content: bytes, seed: int, number: int) -> str:
        first = posted(self._client, content, self._question(0))
        if first.status_code != 200:
            return str(first.status_code)
        body = {"image_id": first.json()["image_id"], **self._question(number)}
        return self._judged(self._client.post("/v1/ask", json=body), seed, number)

    def _stream(self, content: bytes, seed: int, number: int) -> str:
        answer = self._client.send(form_request(self._client, content, self._question(number), "/v1/stream"))
        if answer.status_code != 200:
            return str(answer.status_code)
        name, data = answer.text.rstrip("\n").split("\n\n")[-1].split("\n")
        record = json.loads(data.removeprefix("data: "))
        right = name == "event: answer" and record["token_ids"] == self._expected[seed, number]
        return "right" if right else "WRONG"

    def _hangs_up_within_the_answer(self, content: bytes, seed: int, number: int) -> str:
        self._send(self._request(content, number), random.Random(seed).random() * 0.1)  # noqa: S311
        return "gone"

    def _hangs_up_within_the_body(self, content: bytes, _seed: int, number: int) -> str:
        sent = self._request(content, number)
        self._send(sent[: len(sent) * 2 // 3], 0)
        return "gone"

    def _too_large(self, *_: object) -> str:
        return str(self._client.post("/v1/ask", content=bytes(_BODY_LIMIT + 1)).status_code)

    def _broken_picture(self, content: bytes, _seed: int, number: int) -> str:
        return str(posted(self._client, content[: len(content) // 2], self._question(number)).status_code)

    def _slow(self, content: bytes, seed: int, number: int) -> str:
        sent = self._request(content, number)
        with socket.create_connection(("127.0.0.1", self._server.port), TIMEOUT) as connection:
            connection.sendall(sent[:-100])
            time.sleep(0.3)
            connection.sendall(sent[-100:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head:
            return "UNANSWERED"
        status = int(head.split()[1])
        if status != 200:
            return str(status)
        return "right" if json.loads(body)["token_ids"] == self._expected[seed, number] else "WRONG"

    def _question(self, number: int) -> dict[str, Any]:
        return {**_QUESTIONS[number], "max_new_tokens": _TOKENS}

    def _judged(self, answer: httpx.Response, seed: int, number: int) -> str:
        if answer.status_code != 200:
            return str(answer.status_code)
        return "right" if answer.json()["token_ids"] == self._expected[seed, number] else "WRONG"

    def _request(self, content: bytes, number: int) -> bytes:
        return request(self._client, content, self._question(number))

    def _send(self, content: bytes, wait: float) -> None:
        with socket.create_connection(("127.0.0.1", self._server.port), TIMEOUT) as connection:
            connection.sendall(content)
            time.sleep(wait)


def soak(model: f2edge.Florence2, server: Server, runs: int, clients: int) -> dict[str, Any]:
    """Let clients ask so many times, and return how that ended."""
    expected = {
        (seed, number): list(model.run(picture(seed), **question, max_new_tokens=_TOKENS).token_ids)
        for seed in range(_PICTURES)
        for number, question in enumerate(_QUESTIONS)
    }
    asking, outcomes, states = Clients(server, expected), Counter[str](), [server.state()]
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for part in range(10):
            outcomes.update(pool.map(asking.ask, range(part * runs // 10, (part + 1) * runs // 10)))
            states.append(server.state())
            print(f"{(part + 1) * 10} %", states[-1], file=sys.stderr)
    return {
        "runs": runs,
        "clients": clients,
        "seconds": round(time.perf_counter() - started, 1),
        "outcomes": dict(sorted(outcomes.items())),
        "right": sum(count for outcome, count in outcomes.items() if outcome.endswith(": right")),
        "wrong": sum(count for outcome, count in outcomes.items() if "WRONG" in outcome),
        "surprising": sorted(set(outcomes) - {f"{what}: {_OUTCOMES.get(what, 'right')}" for what in _BEHAVIOUR}),
        "unanswered": sum(count for outcome, count in outcomes.items() if "UNANSWERED" in outcome),
        "states": states,
        "ready_at_the_end": httpx.get(f"{server.url}/health/ready").status_code == 200,
    }
