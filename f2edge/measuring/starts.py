"""Starts in new processes: cold, with an empty cache of engines, and warm, with the cache that the first one filled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from f2edge.errors import DeviceError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PROGRAM = "f2edge.measuring.start"


@dataclass(frozen=True)
class Start:
    """What a new process pays until its first answer; medians of several processes.

    Args:
        load_ms: opening the bundle, in milliseconds.
        first_answer_ms: the first answer after that, in milliseconds.
        process_ms: from the start of the process to its first answer, the start of Python included, in milliseconds.
        processes: how many processes were started.
    """

    load_ms: float
    first_answer_ms: float
    process_ms: float
    processes: int

    @classmethod
    def of(cls, starts: Sequence[tuple[float, float, float]]) -> Start:
        """Return the medians of (load, first answer, process) of several processes."""
        load, answer, process = (round(median(column), 3) for column in zip(*starts, strict=True))
        return cls(load, answer, process, len(starts))


@dataclass(frozen=True)
class Starts:
    """Starts of new processes.

    Args:
        cold: with an empty cache of engines.  The files of the bundle may be in the memory of the system.
        warm: with a cache that an earlier process has filled.
    """

    cold: Start
    warm: Start

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def measure_starts(question: Mapping[str, Any], count: int) -> Starts:
    """Start so many processes with an empty cache, and as many with a filled one.

    Args:
        question: the arguments of :func:`f2edge.measuring.start.answer`.
        count: the number of processes of each kind, at least 1.

    Raises:
        InputError: the picture is none that another process can open.
        DeviceError: a process failed.
    """
    if not isinstance(question["image"], (str, Path, type(None))):
        raise InputError("`starts` are measured in other processes; give `image` as a path, or `starts` 0")
    if getattr(sys, "frozen", False):
        raise InputError("`starts` take a Python interpreter, which a frozen application does not have; give 0")
    text = json.dumps({**question, "image": None if question["image"] is None else str(question["image"])})
    cold, warm = [], []
    for _ in range(count):
        with TemporaryDirectory(prefix="f2edge-start-", ignore_cleanup_errors=True) as cache:
            cold.append(_start(text, cache))
            warm.append(_start(text, cache))
    return Starts(Start.of(cold), Start.of(warm))


def _start(question: str, cache: str) -> tuple[float, float, float]:
    """Return the milliseconds of the load, of the first answer, and of the process until then."""
    command = [sys.executable, "-m", _PROGRAM, question]
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - this interpreter
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "F2EDGE_CACHE": cache}
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        milliseconds = (time.perf_counter() - started) * 1e3
        _, complaint = process.communicate()
    if process.returncode or not line:
        last = (complaint.strip().splitlines() or ["no reason"])[-1]
        raise DeviceError(f"a process that was started to measure its start failed: {last}; try `starts` 0")
    load, answer = json.loads(line)
    return load, answer, milliseconds
