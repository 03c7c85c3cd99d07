"""Annotate the pictures of shards: shard after shard, with several threads, in flat memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby, islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.pictures import Picture
    from f2edge.annotate.records import Record
    from f2edge.annotate.sources import Pictures

_AHEAD = 4
"""Pictures for each thread that are begun before the first of them is done, so that a slow one holds up no other."""
T = TypeVar("T")


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


def annotate(
    directory: Directory,
    shards: Iterable[Shard],
    annotator: Callable[[Picture], list[Record]],
    *,
    workers: int = 1,
    done: Callable[[], object] = lambda: None,
    refined: Callable[[int, Sequence[Record]], Sequence[Record]] = lambda _, records: records,
) -> None:
    """Annotate the pictures of shards, and write each shard as soon as it is whole.

    Args:
        directory: where to write.
        shards: those to make.
        annotator: returns the records of a picture; several threads call it.
        workers: how many threads.
        done: is called after each picture.
        refined: makes of the number of a shard and its records those that are written.

    Raises:
        AnnotationError: this process must not write here.
        DeviceError: the engine failed; the shards until then are written.
        OSError: a shard cannot be written; those before it are.
    """
    todo = ((shard.number, picture) for shard in shards for picture in shard.pictures)
    answers = _in_order(lambda item: _Answered(item[0], annotator(item[1])), todo, workers)
    with closing(answers):
        for number, group in groupby(answers, key=lambda answered: answered.shard):
            records: list[Record] = []
            for answered in group:
                records += answered.records
                done()
            directory.write(number, refined(number, records))


def _in_order(function: Callable[[T], _Answered], items: Iterable[T], threads: int) -> Generator[_Answered, None, None]:
    """Yield what a function returns for items, in their order; only a few are computed ahead."""
    source, pool = iter(items), ThreadPoolExecutor(threads, thread_name_prefix="f2edge-annotate")
    try:
        pending = deque(pool.submit(function, item) for item in islice(source, threads * _AHEAD))
        while pending:
            yield pending.popleft().result()
            pending.extend(pool.submit(function, item) for item in islice(source, 1))
    finally:
        pool.shutdown(cancel_futures=True)
