"""Work that several workers of a model do at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Helpers:
    """A thread for each worker, for the length of a ``with`` block; with one worker the caller does everything itself.

    At the end of the block, work that has not begun is dropped, and work that has is waited for.

    Args:
        workers: the workers of the model.
    """

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="f2edge-many") if workers > 1 else None

    def __enter__(self) -> Helpers:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def begin(self, work: Callable[[], T]) -> Callable[[], T]:
        """Have a helper begin some work; return what waits for its result, or raises its error.

        Without helpers the work is done once its result is asked for.
        """
        return cache(work) if self._pool is None else self._pool.submit(work).result
