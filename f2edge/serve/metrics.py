"""What a server counts, in the form that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Sized

    from f2edge.result import Result
    from f2edge.serve.waiting import WaitingRoom

STAGES = ("preprocess", "vision", "encoder", "decode", "postprocess")
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The metrics of one server; each has a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "f2edge_requests", "Requests by route and status.", ("route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "f2edge_request_seconds", "Time of a request.", ("route",), registry=registry, buckets=_SECONDS
        )
        self._refusals = Counter("f2edge_refusals", "Refused requests by reason.", ("code",), registry=registry)
        self._stages = Histogram(
            "f2edge_stage_seconds", "Time of each stage of an answer.", ("stage",), registry=registry, buckets=_SECONDS
        )
        self._answers = Counter("f2edge_answers", "Answers by task.", ("task",), registry=registry)
        self._tokens = Counter("f2edge_tokens", "Tokens of answers.", registry=registry)

    def watch(self, room: WaitingRoom, pictures: Sized) -> None:
        """Read the lengths of a queue and of a store of pictures whenever someone asks for the metrics."""
        waiting = Gauge("f2edge_questions_waiting", "Questions that wait for a worker.", registry=self._registry)
        waiting.set_function(lambda: room.waiting)
        inside = Gauge("f2edge_questions_inside", "Questions that wait or are answered.", registry=self._registry)
        inside.set_function(lambda: room.inside)
        kept = Gauge("f2edge_pictures_kept", "Encoded pictures in memory.", registry=self._registry)
        kept.set_function(lambda: len(pictures))

    def requested(self, route: str, status: int, seconds: float | None) -> None:
        """Count a request, and the time that it took if it was read."""
        self._requests.labels(route, status).inc()
        if seconds is not None:
            self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        """Count a refusal."""
        self._refusals.labels(code).inc()

    def answered(self, result: Result) -> None:
        """Count an answer, its tokens and the times of its stages."""
        self._answers.labels(result.task or "free prompt").inc()
        self._tokens.inc(len(result.token_ids) - 1)
        for stage in STAGES:
            if stage in result.timings_ms:
                self._stages.labels(stage).observe(result.timings_ms[stage] / 1e3)

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        return generate_latest(self._registry)
