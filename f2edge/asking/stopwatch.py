"""Milliseconds between the stages of an answer."""

from __future__ import annotations

import time


class Stopwatch:
    """Milliseconds between laps, by name."""

    def __init__(self, laps: dict[str, float] | None = None) -> None:
        self.laps = dict(laps or {})
        self._last = time.perf_counter()

    def lap(self, name: str, shared_by: int = 1) -> None:
        """Note the time since the last lap under ``name``; a lap of several questions is divided among them."""
        now = time.perf_counter()
        self.laps[name] = (now - self._last) * 1e3 / shared_by
        self._last = now
