"""Run the contenders in processes of their own that take turns, so that load on the machine affects all alike."""

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
    """The outcome of one contender.

    Args:
        rounds: its samples, round by round.
        failure: the reason why it has no samples, or no more; ``None`` if it did not fail.
        details: facts that the contender states about itself.
    """

    rounds: list[Samples] = field(default_factory=list)
    failure: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


class Worker:
    """One contender's process.

    Args:
        name: name of the contender.
        cache: the artefacts; the process writes its log beside them.
        threads: number of CPUs that the process may use.
    """

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
        """Wait until the contender is open and warm; return its first message.

        Raises:
            RuntimeError: the process died; the last line that it wrote is the message.
        """
        message: dict[str, Any] = self._read()
        return message

    def measure(self) -> Samples:
        """Have the contender measure one round.

        Raises:
            RuntimeError: the process died; the last line that it wrote is the message.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the process died; reading raises with its last line
        samples: Samples = self._read()
        return samples

    def close(self) -> None:
        """End the process if it still runs."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        raise RuntimeError(lines[-1] if lines else f"ended with exit status {self._process.wait()}")


def _cpus(threads: int) -> set[int]:
    return set(sorted(os.sched_getaffinity(0))[:threads])


def _environment(threads: int, directory: Path) -> dict[str, str]:
    """Return the environment of a contender: each library keeps its own default for how threads wait."""
    kept = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return kept | {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_CACHE_DIR": str(directory / "inductor")}


def prepare(names: Iterable[str], cache: Cache) -> dict[str, Outcome]:
    """Make the artefacts that the contenders need and the cache does not hold, each once.

    Returns:
        An outcome for each contender; it has a ``failure`` if one of its artefacts cannot be made.
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
    """Open and warm up all contenders one by one, then measure ``rounds`` rounds in which they take turns.

    A contender that fails takes no further part, and its outcome has the reason.

    Args:
        outcomes: an outcome for each contender, as :func:`prepare` returns them; samples are added in place.
        threads: number of CPUs of each contender, by name.
        cache: the artefacts.
        rounds: number of rounds.
        progress: called with one line after each step.
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
    """Call ``what``; return the reason if it fails, else ``None``."""
    try:
        what()
    except (RuntimeError, OSError) as error:
        return str(error)
    return None
