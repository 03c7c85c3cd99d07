"""Contender: f2edge in new processes; measures peak memory and the time from process start to the first token."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from measuring import Contender, Samples, photograph

if TYPE_CHECKING:
    from artefacts import Cache
    from workload import Workload

FIRST_TOKEN = 3
"""``max_new_tokens`` for an answer with one free token: the first and the last one are forced."""

_KIB = 1024
_PROGRAM = """
import sys, time, f2edge
f2edge.load(sys.argv[1]).run(sys.argv[2], "caption", max_new_tokens=int(sys.argv[3]))
print(time.monotonic())
"""


class FreshProcess(Contender):
    """A bundle run by new processes.

    This worker imports no engine: the kernel counts memory that a parent held towards the peak of its child.
    """

    def __init__(self, workload: Workload, cache: Cache, bundle: str) -> None:
        self._tokens = workload.caption_tokens
        self._arguments = [str(cache.get(bundle)), str(photograph(cache))]

    def warm_up(self) -> None:
        """Run one process to fill the caches of the system and of OpenVINO: only later starts are measured."""
        self._first_token_ms()

    def measure(self) -> Samples:
        """Measure peak memory in MB in one process, the first token in ms in another."""
        return {"peak_mb": [self._peak_mb()], "process_first_token": [self._first_token_ms()]}

    def _peak_mb(self) -> float:
        options = ["--task", "caption", "--max-new-tokens", str(self._tokens), "--json"]
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "f2edge", "run", *self._arguments, *options], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        assert not status, "f2edge run failed"
        return usage.ru_maxrss * _KIB / 1e6

    def _first_token_ms(self) -> float:
        """Return the time from the start of the process, start of Python included, to the first token."""
        started = time.monotonic()
        command = [sys.executable, "-c", _PROGRAM, *self._arguments, str(FIRST_TOKEN)]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        return (float(ended.stdout) - started) * 1e3
