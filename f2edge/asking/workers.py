"""Workers of a model: how many answers are computed at the same time, and with how many threads each."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from threading import Event, Lock, Semaphore
from typing import TYPE_CHECKING

from f2edge.decoding.stopping import POLL_SECONDS
from f2edge.errors import DeviceError
from f2edge.lines import shown
from f2edge.machine import usable_cores
from f2edge.numbers import is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.decoding.stopping import StopSignal


def threads_of_each(workers: int, threads: int | None) -> int | None:
    """Return the CPU threads of each worker, None for the engine's choice.

    Args:
        workers: the number of answers that are computed at the same time.
        threads: the CPU threads of each that the caller wants; by default the cores are shared among several workers.

    Raises:
        DeviceError: ``workers`` is no whole number of at least 1, or all their threads are more than there are cores.
    """
    if not is_whole(workers) or workers < 1:
        raise DeviceError(f"`workers` is {shown(workers)}; it must be a whole number of at least 1")
    if workers == 1:
        return threads
    cores = usable_cores()
    each = max(1, cores // workers) if threads is None else threads
    if workers * each > cores:
        raise DeviceError(
            f"{workers} `workers` of {each} `threads` each take {workers * each} cores; this process may use {cores}"
        )
    return each


class Workers:
    """The turns that answers take, first come, first served.

    Args:
        count: answers that are computed at the same time.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = Semaphore(count)
        self._line: deque[Event] = deque()
        """Who waits for a turn; the event of the first one is set."""
        self._changing = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        self._making = Lock()

    @contextmanager
    def turn(self, signal: StopSignal, *, next_step: bool = False) -> Iterator[None]:
        """Wait for a free worker, and keep it until the end of the block.

        Args:
            signal: ends the wait.
            next_step: the turn is for the next step of an answer that has begun; it need not stand in line again.

        Raises:
            StopRequestedError: the signal asked to stop before a worker was free.
        """
        signal.raise_if_requested()
        pause = POLL_SECONDS if signal.possible else None
        with nullcontext() if next_step else self._first_in_line(signal, pause):
            while not self._free.acquire(timeout=pause):
                signal.raise_if_requested()
        try:
            yield
        finally:
            self._free.release()

    @contextmanager
    def _first_in_line(self, signal: StopSignal, pause: float | None) -> Iterator[None]:
        """Wait until all who came before have a worker: a semaphore alone goes to whoever asks again the fastest."""
        mine = Event()
        with self._changing:
            self._line.append(mine)
            self._line[0].set()
        try:
            while not mine.wait(pause):
                signal.raise_if_requested()
            yield
        finally:
            with self._changing:
                self._line.remove(mine)
                if self._line:
                    self._line[0].set()

    @property
    def pool(self) -> ThreadPoolExecutor:
        """One thread for each worker, which coroutines let their questions run in; made when it is first needed."""
        with self._making:
            if self._pool is None or self._process != os.getpid():  # a forked child has none of the threads
                self._process = os.getpid()
                self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="f2edge")
            return self._pool

    def close(self) -> None:
        """Let each thread end once it has answered its question."""
        with self._making:
            if self._pool is not None:
                self._pool.shutdown(wait=False)
