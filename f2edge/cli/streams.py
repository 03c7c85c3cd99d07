"""Stdin, stdout and stderr as callers leave them: closed, full, or with an encoding that lacks letters."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any

_FAILED = 1


class _Lossy(io.FileIO):
    """A file that loses what cannot be written."""

    def write(self, data: Any, /) -> int:
        """Write bytes; return their number, whether or not they are written."""
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Make stdout and stderr fit for a command.

    Messages are lost if stderr is closed or full: the answer matters more.  A command whose stdout is closed ends at
    once with exit code 1, since its answer would be lost.  Letters that an encoding lacks are written as escapes.
    """
    _fill_closed_descriptors()
    if sys.stderr is None or sys.platform != "win32":  # the console of Windows takes letters, not bytes
        stderr = io.BufferedWriter(_Lossy(2, "w", closefd=False))
        encoding = getattr(sys.stderr, "encoding", None)
        sys.stderr = io.TextIOWrapper(stderr, encoding, "backslashreplace", line_buffering=True)
    if sys.stdout is None:
        sys.stderr.write("f2edge: stdout is closed, so the answer would be lost; send it to a file or to /dev/null\n")
        sys.exit(_FAILED)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _fill_closed_descriptors() -> None:
    """Open the null device for each descriptor that is closed.

    The next file that is opened would take its number, and a library that prints to stderr would write into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
