"""Annotate the pictures of shards: shard after shard, with several workers, in flat memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import closing
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple

from f2edge.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Executor

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.pictures import Picture
    from f2edge.annotate.records import Record
    from f2edge.annotate.sources import Pictures

_AHEAD = 4
"""Pictures for each worker that are begun before the first of them is done, so that a slow one holds up no other."""


class Shard(NamedTuple):
    """The pictures of one file of the output, which one worker makes whole.

    Args:
        number: the number of the file, from 0.
        pictures: in the order of its rows.
    """

    number: int
    pictures: Sequence[Picture]


def missing_shards(directory: Directory, pictures: Pictures) -> Iterator[Shard]:
    """Yield the shards of a run that are not there yet."""
    size = int(directory.description.settings["shard"])
    return (Shard(number, pictures.shard(number, size)) for number in directory.missing())


class _Answered(NamedTuple):
    """The records of one picture, with the number of its shard."""

    shard: int
    records: list[Record]


def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="f2edge-annotate")


def annotate(
    directory: Directory,
    shards: Iterable[Shard],
    annotator: Callable[[Picture], list[Record]],
    *,
    workers: int = 1,
    pool: Callable[[int], Executor] = _threads,
    done: Callable[[], object] = lambda: None,
    refined: Callable[[int, Sequence[Record]], Sequence[Record]] = lambda _, records: records,
) -> None:
    """Annotate the pictures of shards, and write each shard as soon as it is whole.

    Args:
        directory: where to write.
        shards: those to make.
        annotator: returns the records of a picture; the workers call it.
        workers: pictures that are annotated at the same time.
        pool: opens so many workers: threads, or processes.
        done: is called after each picture.
        refined: makes of the number of a shard and its records those that are written.

    Raises:
        AnnotationError: this process must not write here.
        DeviceError: the engine failed, or a worker has died; the shards until then are written.
        OSError: a shard cannot be written; those before it are.
    """
    todo = ((shard.number, picture) for shard in shards for picture in shard.pictures)
    with closing(_in_order(annotator, todo, pool(workers), workers * _AHEAD)) as answers:
        for number, group in groupby(answers, key=lambda answered: answered.shard):
            records: list[Record] = []
            for answered in group:
                records += answered.records
                done()
            directory.write(number, refined(number, records))


def _in_order(
    annotator: Callable[[Picture], list[Record]], todo: Iterator[tuple[int, Picture]], pool: Executor, ahead: int
) -> Generator[_Answered, None, None]:
    """Yield the records of pictures, in their order; only a few are computed ahead.

    Raises:
        DeviceError: a worker has died.
    """
    try:
        pending = deque((shard, pool.submit(annotator, picture)) for shard, picture in islice(todo, ahead))
        while pending:
            shard, answer = pending.popleft()
            yield _Answered(shard, answer.result())
            pending.extend((shard, pool.submit(annotator, picture)) for shard, picture in islice(todo, 1))
    except BrokenExecutor as error:
        raise DeviceError(
            "a process of `workers` has died, perhaps for want of memory; run the same command again to go on"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
