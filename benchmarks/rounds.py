"""Contenders in processes of their own, taking turns, so that a busy neighbour hits all alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contenders import entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from artefacts import Cache
    from measuring import Samples

WORKER = Path(__file__).with_name("worker.py")


@dataclass
class Outcome:
    """What one contender gave.

    Args:
        rounds: its samples, round by round.
        failure: why there are none, or no more.
        details: what it tells of itself.
    """

    rounds: list[Samples] = field(default_factory=list)
    failure: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Worker:
    """One contender's process."""

    def __init__(self, name: str, cache: Cache, threads: int) -> None:
        command = [sys.executable, str(WORKER), name, cache.workload.name, str(cache.directory)]
        self._log = (cache.directory / f"{name}.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=_environment(threads, cache.directory),
            preexec_fn=lambda: os.sched_setaffinity(0, _cpus(threads)),  # noqa: PLW1509 - no threads here
        )

    def ready(self) -> dict[str, Any]:
        """Wait until it is open and warm.

        Raises:
            RuntimeError: it died; the last line it wrote is the message.
        """
        message: dict[str, Any] = self._read()
        return message

    def measure(self) -> Samples:
        """One round.

        Raises:
            RuntimeError: it died; the last line it wrote is the message.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # reading tells why
        samples: Samples = self._read()
        return samples

    def close(self) -> None:
        """End the process, if it has not ended."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        raise RuntimeError(lines[-1] if lines else f"ended with {self._process.wait()}")


def _cpus(threads: int) -> set[int]:
    return set(sorted(os.sched_getaffinity(0))[:threads])


def _environment(threads: int, directory: Path) -> dict[str, str]:
    """Each library's own defaults: how threads wait is theirs to choose."""
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return kept | {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_CACHE_DIR": str(directory / "inductor")}


def prepare(names: Iterable[str], cache: Cache) -> dict[str, Outcome]:
    """Make what the contenders need and the cache does not hold, each once.

    The outcome of a contender whose artefact cannot be made says why.
    """
    needed = {name: entry(name).artefacts for name in names}
    failures = {
        artefact: _failure(partial(cache.get, artefact)) for artefact in dict.fromkeys(sum(needed.values(), ()))
    }
    return {
        name: Outcome(failure=next((failures[a] for a in artefacts if failures[a]), None))
        for name, artefacts in needed.items()
    }


def run(
    outcomes: dict[str, Outcome], threads: Mapping[str, int], cache: Cache, rounds: int, progress: Callable[[str], None]
) -> None:
    """Open and warm all that are prepared, one by one; then let them take turns, ``rounds`` times.

    ``threads`` tells of each contender, by name, how many CPUs it may use.
    A contender that fails is left out from there on, and its outcome says why.
    """
    workers: dict[str, Worker] = {}
    try:
        for name, outcome in outcomes.items():
            if outcome.failure is None:
                outcome.failure = _failure(partial(_open, name, outcome, workers, cache, threads[name]))
            progress(f"{name}: {outcome.failure or 'ready'}")
        for number in range(rounds):
            _round(outcomes, workers, f"round {number + 1} of {rounds}", progress)
    finally:
        for worker in workers.values():
            worker.close()


def _open(name: str, outcome: Outcome, workers: dict[str, Worker], cache: Cache, threads: int) -> None:
    workers[name] = Worker(name, cache, threads)
    outcome.details = workers[name].ready()["details"]


def _round(
    outcomes: dict[str, Outcome], workers: dict[str, Worker], title: str, progress: Callable[[str], None]
) -> None:
    for name, outcome in outcomes.items():
        if outcome.failure is None:
            started = time.perf_counter()
            outcome.failure = _failure(partial(_measure, workers[name], outcome))
            progress(f"{title}: {name}, {time.perf_counter() - started:.1f} s")


def _measure(worker: Worker, outcome: Outcome) -> None:
    outcome.rounds.append(worker.measure())


def _failure(what: Callable[[], object]) -> str | None:
    """Do it; why it failed, or None."""
    try:
        what()
    except (RuntimeError, OSError) as error:
        return str(error)
    return None
