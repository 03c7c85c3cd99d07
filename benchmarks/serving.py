"""Measure what a server adds to ``model.run``, how fast it refuses, and how it stands thousands of bad clients.

The results are written as JSON.

    python benchmarks/serving.py demo.cpu --runs 10000 --output benchmarks/results/serving.json

The server runs in a process of its own on the loopback interface.  Overhead: a picture of 640 x 480 pixels, another one
each time, is asked about in this process and over HTTP in turn; the difference of the two is taken pair by pair.  Where
answers take long, it is smaller than what two answers differ by; then the time of a request outside the answer says
more, whose own time the server tells.  httpx sends a form in some twenty pieces; the same is asked with the form in one
piece.  Crowd: a hundred clients ask at once, where a worker and a queue have place for
nine; what the clients take to ask is in their times.  Soak: see ``serving_soak.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
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
_QUESTION: dict[str, Any] = {"task": "od", "num_beams": 1, "max_new_tokens": _TOKENS}


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
    with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
        taken = [_ask_each_way(model, client, 10_000 + run) for run in range(runs + 3)][3:]  # the first ones warm up
    seconds = {way: [one[way].seconds for one in taken] for way in taken[0]}
    report: dict[str, Any] = {"runs": runs} | {way: percentiles(each) for way, each in seconds.items()}
    pairs = zip(seconds["model_run"], seconds["over_http"], strict=True)
    report["difference"] = percentiles([over - alone for alone, over in pairs])
    for way in ("over_http", "in_one_piece"):
        report[f"{way}_outside_the_answer"] = percentiles([_outside(one[way]) for one in taken])
    medians = (statistics.median(seconds[way]) for way in ("second_question", "over_http"))
    report["second_over_first"] = round(next(medians) / next(medians), 3)
    return report


def _ask_each_way(model: f2edge.Florence2, client: httpx.Client, seed: int) -> dict[str, Timed]:
    """Ask about one picture here, over HTTP as httpx sends a form, with the form in one piece, and once more."""
    content, other = (picture(number, (640, 480), "JPEG") for number in (seed, seed + 10_000))
    alone = _timed(lambda: model.run(content, **_QUESTION))
    over = _timed(lambda: posted(client, content, _QUESTION))
    again = {"image_id": over.value.json()["image_id"], **_QUESTION}
    second = _timed(lambda: client.post("/v1/ask", json=again))
    # about another picture: the features of this one are kept
    form = form_request(client, other, _QUESTION)
    body, kind = form.read(), {"content-type": form.headers["content-type"]}
    whole = _timed(lambda: client.post("/v1/ask", content=body, headers=kind))
    return {"model_run": alone, "over_http": over, "in_one_piece": whole, "second_question": second}


def _outside(asked: Timed) -> float:
    """Return the seconds of a request outside the answer, whose own time the server tells."""
    seconds: float = asked.seconds - asked.value.json()["timings_ms"]["total"] / 1e3
    return seconds


def measure_crowd(model: f2edge.Florence2, bundle: Path, rounds: int) -> dict[str, Any]:
    """Let a hundred clients ask at once a server that has place for nine, and time its refusals."""
    server, content = Server(bundle, "--queue", str(_QUEUE), *_threads(model)), picture(1)
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
        "refusal": {**percentiles(refused), "max_ms": round(max(refused) * 1e3, 2)},
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
    parser.add_argument("--crowds", type=int, default=5, help="rounds of a hundred clients at once")
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
