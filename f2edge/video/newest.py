"""Read a live source all the time, and keep its newest picture only."""

from __future__ import annotations

from dataclasses import replace
from threading import Condition, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.video.decoding import Picture


class Newest:
    """An iterator over the newest pictures, which a thread reads; the older ones are dropped and counted.

    What the source raises is raised after its last picture.

    Args:
        pictures: the pictures of the source; the thread alone reads them, from the first call of ``next`` on.
    """

    def __init__(self, pictures: Iterator[Picture]) -> None:
        self._pictures = pictures
        self._kept: Picture | None = None
        self._error: Exception | None = None
        self._ended = False
        self._changed = Condition()
        # A daemon: what forgets to close must not keep the program from ending.
        self._thread = Thread(target=self._read, name="f2edge-video", daemon=True)

    def __iter__(self) -> Newest:
        return self

    def __next__(self) -> Picture:
        with self._changed:
            if not self._ended and self._thread.ident is None:
                self._thread.start()
            self._changed.wait_for(lambda: self._kept is not None or self._ended)
            if self._kept is None:
                raise self._error or StopIteration
            picture, self._kept = self._kept, None
            return picture

    def close(self) -> None:
        """Stop the thread, and wait until it has ended: for the packet that it reads at most."""
        with self._changed:
            self._ended, self._kept, self._error = True, None, None
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _read(self) -> None:
        error = None
        try:
            for picture in self._pictures:
                if not self._keep(picture):
                    return
        except Exception as raised:  # noqa: BLE001 - it is raised to the reader
            error = raised
        with self._changed:
            if not self._ended:
                self._error, self._ended = error, True
            self._changed.notify_all()

    def _keep(self, picture: Picture) -> bool:
        """Put a picture in place of the one that nobody has taken; tell whether to go on."""
        with self._changed:
            if self._kept is not None:
                picture = replace(picture, dropped=picture.dropped + self._kept.dropped + 1)
            if not self._ended:
                self._kept = picture
            self._changed.notify_all()
            return not self._ended
