"""Annotate on this machine, with one process or several.

Each process has a model of its own: Python computes in one thread of a process at a time, so that threads would wait
for each other between the steps of their answers.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import cached_property, partial
from multiprocessing import connection, get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING

from f2edge.annotate.running import annotate
from f2edge.annotate.working import Worker
from f2edge.asking.workers import threads_of_each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from f2edge.annotate.pictures import Picture
    from f2edge.annotate.records import Record
    from f2edge.annotate.running import Shard
    from f2edge.annotate.working import Job


def annotate_here(job: Job, shards: Iterable[Shard], workers: int, done: Callable[[], object]) -> None:
    """Annotate the pictures of shards, and write each shard as soon as it is whole.

    Args:
        job: what is to be done.
        shards: those to make.
        workers: pictures that are annotated at the same time, each in a process of its own if there are several.
        done: is called after each picture.

    Raises:
        BundleError: the bundle is damaged, or there is none.
        DeviceError: the device is not there or failed, there are fewer cores than threads, or a process has died.
        LimitError: the bundle cannot do what the settings want.
        OSError: a shard cannot be written; those before it are.
    """
    job = replace(job, threads=threads_of_each(workers, job.threads))
    if workers == 1:
        with closing(Worker(job)) as worker:
            worker.annotate(shards, done)
        return
    pool = partial(_pool, job)
    annotate(job.directory, shards, _annotated, workers=workers, pool=pool, done=done, refined=job.refined)


def _pool(job: Job, count: int) -> ProcessPoolExecutor:
    """Return processes that share nothing with this one: engines do not survive a fork."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin, initargs=(job,))


class _Process:
    """What a process of the pool holds: one worker, which is opened for its first picture."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @cached_property
    def worker(self) -> Worker:
        return Worker(self._job)


_processes: list[_Process] = []
"""In a process of the pool, itself; elsewhere nothing."""


def _begin(job: Job) -> None:
    """Begin a process, which ends with the one that started it: when that is interrupted, and when it is killed."""
    _processes.append(_Process(job))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent
    connection.wait([parent.sentinel])
    os._exit(1)


def _annotated(picture: Picture) -> list[Record]:
    return _processes[0].worker.annotator(picture)
