"""Measure what a server adds to ``model.run``, how fast it refuses, and how it stands thousands of bad clients.

The results are written as JSON.

    python benchmarks/serving.py demo.cpu --runs 10000 --output benchmarks/results/serving.json

The server runs in a process of its own on the loopback interface.  Overhead: pictures of 640 x 480 pixels are asked
about in this process and over HTTP in turn.  Two answers differ by more than the server adds, so that of each the time
of its stages is taken off, which it tells; what is left over HTTP, less what is left of ``model.run``, is what the
server adds.  It is measured with httpx, which makes a form in some twenty pieces, and with http.client, which sends one
that was made before.  Both processes rest before each answer: their threads stay awake for a while after one, and take
the cores from each other.  Crowd: a hundred clients ask about such a picture at once, where a worker and a queue have
place for nine; what the clients take to ask is in their times.  Soak: see ``serving_soak.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
from served import TIMEOUT, Server, form_request, picture, posted, request
from serving_soak import soak

import f2edge
from f2edge.machine import cpu_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_TOKENS = 24
_QUEUE = 8
_CROWD = 100
_REST_SECONDS = 0.02
_QUESTION: dict[str, Any] = {"task": "od", "num_beams": 1, "max_new_tokens": _TOKENS}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the 90th percentile, in milliseconds from seconds."""
    cuts = statistics.quantiles(values, n=10)
    return {"p50_ms": round(statistics.median(values) * 1e3, 2), "p90_ms": round(cuts[-1] * 1e3, 2)}


class Timed(NamedTuple):
    """What an action returned, and how long it took."""

    value: Any
    seconds: float


def _rested(action: Callable[[], Any]) -> Timed:
    """Time an action after a rest, when the threads of other answers sleep."""
    time.sleep(_REST_SECONDS)
    return _timed(action)


def _timed(action: Callable[[], Any]) -> Timed:
    started = time.perf_counter()
    value = action()
    return Timed(value, time.perf_counter() - started)


def measure_overhead(model: f2edge.Florence2, server: Server, runs: int) -> dict[str, Any]:
    """Ask in this process and over HTTP in turn, and about each picture a second time."""
    with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        plain = HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)
        taken = [_ask_each_way(model, client, plain, 10_000 + run) for run in range(runs + 3)][3:]  # some to warm up
        plain.close()
    report: dict[str, Any] = {"runs": runs}
    for way in taken[0]:
        report[way] = percentiles([one[way].seconds for one in taken])
    for way in ("httpx", "http_client"):
        report[f"{way}_adds"] = percentiles([_beside(one[way]) - _beside(one["model_run"]) for one in taken])
    report["second_over_first"] = round(report["second_question"]["p50_ms"] / report["httpx"]["p50_ms"], 3)
    return report


def _ask_each_way(model: f2edge.Florence2, client: httpx.Client, plain: HTTPConnection, seed: int) -> dict[str, Timed]:
    """Ask about a picture here, over HTTP with httpx, a second time, and about another one with http.client."""
    content, other = _photo(seed), _photo(seed + 10_000)
    alone = _rested(lambda: model.run(content, **_QUESTION).to_json())
    first = _rested(lambda: posted(client, content, _QUESTION).json())
    again = {"image_id": first.value["image_id"], **_QUESTION}
    second = _rested(lambda: client.post("/v1/ask", json=again).json())
    form = form_request(client, other, _QUESTION)  # of another picture, since the features of this one are kept
    body, kind = form.read(), {"content-type": form.headers["content-type"]}
    sent = _rested(lambda: _sent(plain, body, kind))
    return {"model_run": alone, "httpx": first, "http_client": sent, "second_question": second}


def _photo(seed: int) -> bytes:
    return picture(seed, (640, 480), "JPEG")


def _sent(plain: HTTPConnection, body: bytes, headers: dict[str, str]) -> Any:
    plain.request("POST", "/v1/ask", body, headers)
    return json.loads(plain.getresponse().read())


def _beside(asked: Timed) -> float:
    """Return the seconds of an answer beside its stages, whose time it tells."""
    seconds: float = asked.seconds - asked.value["timings_ms"]["total"] / 1e3
    return seconds


def measure_crowd(model: f2edge.Florence2, bundle: Path, rounds: int) -> dict[str, Any]:
    """Let a hundred clients ask at once a server that has place for nine, and time its refusals."""
    server, content = Server(bundle, "--queue", str(_QUEUE), *_threads(model)), _photo(1)
    expected, before = list(model.run(content, **_QUESTION).token_ids), server.state()
    with httpx.Client(base_url=server.url) as client:
        asked = request(client, content, _QUESTION)
    answers = [answer for _ in range(rounds) for answer in asyncio.run(_crowd(server.port, asked))]
    refused = [answer.seconds for answer in answers if answer.value[0] == 429]
    served = [json.loads(body)["token_ids"] for status, body in (answer.value for answer in answers) if status == 200]
    return {
        "clients": _CROWD,
        "places": 1 + _QUEUE,
        "rounds": rounds,
        "right": served.count(expected),
        "wrong": len(served) - served.count(expected),
        "refused": len(refused),
        "neither": len(answers) - len(served) - len(refused),
        "refusal": {
            **percentiles(refused),
            "p99_ms": round(statistics.quantiles(refused, n=100)[-1] * 1e3, 2),
            "max_ms": round(max(refused) * 1e3, 2),
        },
        "states": [before, server.state()],
        "exit_code": server.end(),
    }


async def _crowd(port: int, asked: bytes) -> list[Timed]:
    """Open all connections, then ask on all of them; return the status and the body of each answer."""
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(_CROWD)]
    return await asyncio.gather(*(_ask(reader, writer, asked) for reader, writer in connections))


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: bytes) -> Timed:
    started = time.perf_counter()
    writer.write(asked)
    head, _, body = (await asyncio.wait_for(reader.read(-1), TIMEOUT)).partition(b"\r\n\r\n")
    seconds = time.perf_counter() - started
    writer.close()
    return Timed((int(head.split()[1]), body), seconds)


def _threads(model: f2edge.Florence2) -> tuple[str, ...]:
    """Return the options that give a server as many threads as a model has."""
    return ("--threads", str(model.runtime.threads)) if model.runtime.threads else ()


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--runs", type=int, default=10_000, help="requests of the soak")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=100, help="pairs of questions for the overhead")
    parser.add_argument("--crowds", type=int, default=30, help="rounds of a hundred clients at once")
    parser.add_argument("--threads", type=int, help="threads of the model, here and in the server")
    parser.add_argument("--output", type=Path, default=Path("serving.json"))
    options = parser.parse_args()
    report: dict[str, Any] = {"bundle": options.bundle.name, "cpu": cpu_name(), "f2edge": f2edge.__version__}
    with f2edge.load(options.bundle, threads=options.threads) as model:
        report["threads"] = model.runtime.threads
        report["crowd"] = measure_crowd(model, options.bundle, options.crowds) if options.crowds else None
        server = Server(options.bundle, *_threads(model))
        report["overhead"] = measure_overhead(model, server, options.pairs) if options.pairs else None
        report["soak"] = soak(model, server, options.runs, options.clients) if options.runs else None
        report["exit_code"] = server.end()
    options.output.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
