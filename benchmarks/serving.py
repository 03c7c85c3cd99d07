"""Measure what a server adds to ``model.run``, and ask it thousands of times with clients that behave and that do not.

The results are written as JSON.

    python benchmarks/serving.py demo.cpu --runs 10000 --output benchmarks/results/serving.json

The server runs in a process of its own on the loopback interface.  Overhead: a picture of 640 x 480 pixels, another one
each time, is asked about in this process and over HTTP in turn; the difference of the two is taken pair by pair.  Where
answers take long, it is smaller than what two answers differ by; then the time of a request outside the answer says
more, whose own time the server tells.  Soak:
eight clients ask whole questions, streams and second questions, hang up within a body or an answer, send bodies that
are too large, broken pictures, and bodies with a pause in the middle.  Every answer is compared with that of
``model.run``, token for token.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import re
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import numpy as np
from PIL import Image

import f2edge
from f2edge.machine import cpu_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PICTURES = 12
_QUESTIONS = (
    {"task": "caption", "num_beams": 1},
    {"task": "od", "num_beams": 1},
    {"task": "caption_to_phrase_grounding", "text": "a red circle", "num_beams": 2},
    {"task": "od", "structured": True, "num_beams": 1},
)
_TOKENS = 24
_TIMEOUT = 120.0
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


class Server:
    """``f2edge serve`` in a process of its own."""

    def __init__(self, bundle: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "f2edge", "serve", str(bundle), "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603
        assert self.process.stderr
        line = self.process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert found, line
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def state(self) -> dict[str, float]:
        """Return resident memory and its peak in MiB, threads and open files."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        values = dict(line.split(":", 1) for line in status.splitlines())
        mib = {name: int(values[field].split()[0]) / 1024 for name, field in (("rss", "VmRSS"), ("peak", "VmHWM"))}
        files = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        return {"memory_mib": mib["rss"], "peak_mib": mib["peak"], "threads": int(values["Threads"]), "files": files}

    def end(self) -> int:
        """Tell the server to end, and return its exit code."""
        self.process.terminate()
        return self.process.wait(_TIMEOUT)


def picture(seed: int, size: tuple[int, int] = (320, 240), kind: str = "PNG") -> bytes:
    """Return the file of a picture of coloured patches that differs from seed to seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(patches).resize(size).save(file, kind)
    return file.getvalue()


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 90th percentile, in milliseconds from seconds."""
    cuts = statistics.quantiles(values, n=10)
    return {"p50_ms": round(statistics.median(values) * 1e3, 2), "p90_ms": round(cuts[-1] * 1e3, 2)}


class Timed(NamedTuple):
    """What an action returned, and how long it took."""

    value: Any
    seconds: float


def _timed(action: Callable[[], Any]) -> Timed:
    started = time.perf_counter()
    value = action()
    return Timed(value, time.perf_counter() - started)


def measure_overhead(model: f2edge.Florence2, server: Server, runs: int) -> dict[str, Any]:
    """Ask in this process and over HTTP in turn, and about each picture a second time."""
    question: dict[str, Any] = {"task": "od", "num_beams": 1, "max_new_tokens": _TOKENS}
    here, there, second, outside = [], [], [], []
    with httpx.Client(base_url=server.url, timeout=_TIMEOUT) as client:
        for run in range(runs + 3):
            content = picture(10_000 + run, (640, 480), "JPEG")
            alone = _timed(lambda content=content: model.run(content, **question))  # type: ignore[misc]
            over = _timed(lambda content=content: _posted(client, content, question))  # type: ignore[misc]
            again = {"image_id": over.value.json()["image_id"], **question}
            repeated = _timed(lambda again=again: client.post("/v1/ask", json=again))  # type: ignore[misc]
            if run >= 3:  # the first ones warm up
                for kept, one in zip((here, there, second), (alone, over, repeated), strict=True):
                    kept.append(one.seconds)
                outside.append(over.seconds - over.value.json()["timings_ms"]["total"] / 1e3)
    differences = [over - alone for alone, over in zip(here, there, strict=True)]
    return {
        "runs": runs,
        "model_run": percentiles(here),
        "over_http": percentiles(there),
        "difference": percentiles(differences),
        "outside_the_answer": percentiles(outside),
        "second_question": percentiles(second),
        "second_over_first": round(statistics.median(second) / statistics.median(there), 3),
    }


def _posted(client: httpx.Client, content: bytes, question: dict[str, Any]) -> httpx.Response:
    form = {name: str(value).lower() if isinstance(value, bool) else value for name, value in question.items()}
    return client.post("/v1/ask", files={"image": ("a", content)}, data=form)


class Clients:
    """Clients that behave, and others that do not.

    Args:
        server: the server that they ask.
        expected: the tokens of the answer to each question about each picture.
    """

    def __init__(self, server: Server, expected: dict[tuple[int, int], list[int]]) -> None:
        self._server, self._expected = server, expected
        self._client = httpx.Client(base_url=server.url, timeout=_TIMEOUT)
        self.outcomes: Counter[str] = Counter()

    def ask(self, run: int) -> str:
        """Do something by chance, and return what it was and how it ended."""
        chance = random.Random(run)  # noqa: S311
        (what,) = chance.choices(list(_BEHAVIOUR), list(_BEHAVIOUR.values()))
        seed, number = chance.randrange(_PICTURES), chance.randrange(len(_QUESTIONS))
        action = getattr(self, "_" + what.replace(" ", "_"))
        try:
            return f"{what}: {action(seed, number)}"
        except httpx.HTTPError as error:
            return f"{what}: UNANSWERED {type(error).__name__}"

    def _ask(self, seed: int, number: int) -> str:
        return self._judged(_posted(self._client, picture(seed), self._question(number)), seed, number)

    def _second_question(self, seed: int, number: int) -> str:
        first = _posted(self._client, picture(seed), self._question(0))
        if first.status_code != 200:
            return str(first.status_code)
        body = {"image_id": first.json()["image_id"], **self._question(number)}
        return self._judged(self._client.post("/v1/ask", json=body), seed, number)

    def _stream(self, seed: int, number: int) -> str:
        form = {name: str(value).lower() for name, value in self._question(number).items()}
        answer = self._client.post("/v1/stream", files={"image": ("a", picture(seed))}, data=form)
        if answer.status_code != 200:
            return str(answer.status_code)
        name, data = answer.text.rstrip("\n").split("\n\n")[-1].split("\n")
        record = json.loads(data.removeprefix("data: "))
        right = name == "event: answer" and record["token_ids"] == self._expected[seed, number]
        return "right" if right else "WRONG"

    def _hangs_up_within_the_answer(self, seed: int, number: int) -> str:
        self._send(self._request(seed, number), random.Random(seed).random() * 0.1)  # noqa: S311
        return "gone"

    def _hangs_up_within_the_body(self, seed: int, number: int) -> str:
        request = self._request(seed, number)
        self._send(request[: len(request) * 2 // 3], 0)
        return "gone"

    def _too_large(self, *_: int) -> str:
        return str(self._client.post("/v1/ask", content=bytes(_BODY_LIMIT + 1)).status_code)

    def _broken_picture(self, seed: int, number: int) -> str:
        content = picture(seed)
        return str(_posted(self._client, content[: len(content) // 2], self._question(number)).status_code)

    def _slow(self, seed: int, number: int) -> str:
        request = self._request(seed, number)
        with socket.create_connection(("127.0.0.1", self._server.port), _TIMEOUT) as connection:
            connection.sendall(request[:-100])
            time.sleep(0.3)
            connection.sendall(request[-100:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
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

    def _request(self, seed: int, number: int) -> bytes:
        form = {name: str(value).lower() for name, value in self._question(number).items()}
        request = self._client.build_request("POST", "/v1/ask", files={"image": ("a", picture(seed))}, data=form)
        request.headers["connection"] = "close"
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        return f"POST /v1/ask HTTP/1.1\r\n{head}\r\n".encode() + request.read()

    def _send(self, content: bytes, wait: float) -> None:
        with socket.create_connection(("127.0.0.1", self._server.port), _TIMEOUT) as connection:
            connection.sendall(content)
            time.sleep(wait)


def soak(model: f2edge.Florence2, server: Server, runs: int, clients: int) -> dict[str, Any]:
    """Let clients ask so many times, and return how that ended."""
    expected = {
        (seed, number): list(model.run(picture(seed), **question, max_new_tokens=_TOKENS).token_ids)
        for seed in range(_PICTURES)
        for number, question in enumerate(_QUESTIONS)
    }
    asking, outcomes, states = Clients(server, expected), Counter[str](), []
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for part in range(10):
            outcomes.update(pool.map(asking.ask, range(part * runs // 10, (part + 1) * runs // 10)))
            states.append({key: round(value, 1) for key, value in server.state().items()})
            print(f"{(part + 1) * 10} %", states[-1], file=sys.stderr)
    return {
        "runs": runs,
        "clients": clients,
        "seconds": round(time.perf_counter() - started, 1),
        "outcomes": dict(sorted(outcomes.items())),
        "wrong": sum(count for outcome, count in outcomes.items() if "WRONG" in outcome),
        "unanswered": sum(count for outcome, count in outcomes.items() if "UNANSWERED" in outcome),
        "states": states,
        "ready_at_the_end": httpx.get(f"{server.url}/health/ready").status_code == 200,
    }


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=10_000, help="requests of the soak")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=100, help="pairs of questions for the overhead")
    parser.add_argument("--threads", type=int, help="threads of the model, here and in the server")
    parser.add_argument("--output", type=Path, default=Path("serving.json"))
    options = parser.parse_args()
    server = Server(options.bundle, *(("--threads", str(options.threads)) if options.threads else ()))
    report: dict[str, Any] = {"bundle": options.bundle.name, "cpu": cpu_name(), "f2edge": f2edge.__version__}
    with f2edge.load(options.bundle, threads=options.threads) as model:
        report["overhead"] = measure_overhead(model, server, options.pairs) if options.pairs else None
        report["soak"] = soak(model, server, options.runs, options.clients) if options.runs else None
    report["exit_code"] = server.end()
    options.output.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
