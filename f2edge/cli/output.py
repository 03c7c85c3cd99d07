"""Print and write the results of subcommands."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from itertools import count
from tempfile import TemporaryFile
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from f2edge.bundle.writing import nearest_directory, takes_content, whole_file
from f2edge.errors import InputError
from f2edge.json_text import json_text
from f2edge.lines import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.progress import Progress, TaskID

_UNLIMITED = 100_000
_KIB = 1024
NOTHING = "\N{EN DASH}"
"""Stands in a table where there is no number."""


def print_json(value: Any, indent: int | None = None) -> None:
    """Print JSON on stdout, in one line unless indented; null stands for a number that is not finite."""
    click.echo(json_text(value, indent))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, err: bool = False) -> None:
    """Print a table; columns of numbers, and of dashes where there is none, are aligned to the right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for index, name in enumerate(columns):
        numbers = all(row[index][:1].isdigit() or row[index] == NOTHING for row in rows)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    _console(err=err).print(table)


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair per line."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        click.echo(one_line(f"{name:<{width}}  {value}"))


def print_note(text: str) -> None:
    """Print one line on stderr, whatever names and texts of others it holds."""
    click.echo(one_line(text), err=True)


def human_size(size: float) -> str:
    """Format a number of bytes in B, KiB, MiB or GiB."""
    unit = "B"
    for larger in ("KiB", "MiB", "GiB"):
        if size < _KIB:
            break
        size, unit = size / _KIB, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def check_place(option: str, path: Path) -> None:
    """Fail before the work is done if its file cannot be written.

    Raises:
        InputError: the path is a directory, or something that can neither be replaced nor written into.
        OSError: the directory is not writable.
    """
    if path.is_dir():
        raise InputError(f"{option} {path} is a directory; name a file in it")
    try:
        if takes_content(path):
            return
        directory = nearest_directory(path)
    except OSError as error:
        raise InputError(f"{option} {path}: {error.filename}: {error.strerror}; choose another place") from error
    check_writable(directory)


def check_writable(directory: Path) -> None:
    """Fail if no file can be created in a directory.  Only an attempt tells: permissions do not.

    Raises:
        OSError: the directory is not writable; the error names it.
    """
    with _named(directory), TemporaryFile(dir=directory):
        pass


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; the error names ``path``.
    """
    with _named(path), whole_file(path) as partial:
        partial.write_bytes(data)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error name the path that the user gave, not that of a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show a spinner on stderr during the block, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.text import Text

    with _console(err=True).status(Text(one_line(text))):
        yield


class Bar:
    """A progress bar that shows nothing: it is called when a step begins, and :meth:`detail` tells how far it is."""

    def __call__(self, name: str) -> None:
        """Begin the next step."""

    def detail(self, text: str) -> None:
        """Tell how far the step is."""


class _TerminalBar(Bar):
    def __init__(self, bar: Progress, total: int | None) -> None:
        self._bar, self._task, self._done = bar, bar.add_task("", total=total), count()

    def __call__(self, name: str) -> None:
        self._bar.update(self._task, description=one_line(name), completed=next(self._done))

    def detail(self, text: str) -> None:
        self._bar.update(self._task, description=one_line(text))


@contextmanager
def progress_bar(total: int | None) -> Iterator[Bar]:
    """Show a progress bar on stderr, if stderr is a terminal; without a total, it only shows that work goes on."""
    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console(err=True), transient=True) as bar:
        yield _TerminalBar(bar, total)


@contextmanager
def rate_bar(what: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """Show progress with the rate and the time left on stderr, if stderr is a terminal.

    Args:
        what: the things that are counted, such as "pictures".
        total: how many there are.
        done: how many of them were done before.

    Yields:
        What to call after each thing.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}", markup=False)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), rate)
    with Progress(*columns, TimeRemainingColumn(), console=_console(err=True), transient=True) as bar:
        task, number, start = bar.add_task(what, total=total, completed=done, rate=""), count(1), perf_counter()

        def step() -> None:
            rate = next(number) / max(perf_counter() - start, 1e-9)
            bar.update(task, advance=1, rate=f"{rate:.2f} a second")

        yield step


@contextmanager
def share_bar() -> Iterator[Callable[[str, float], None]]:
    """Show a bar for each name on stderr, if stderr is a terminal; the share is from 0 to 1."""
    if not sys.stderr.isatty():
        yield lambda _name, _share: None
        return
    from rich.progress import Progress

    with Progress(console=_console(err=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, share: float) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=1.0)
            bar.update(tasks[name], completed=share)

        yield show


def _console(*, err: bool) -> Console:
    """Return a console that wraps lines on a terminal only."""
    from rich.console import Console

    terminal = (sys.stderr if err else sys.stdout).isatty()
    return Console(stderr=err, width=None if terminal else _UNLIMITED, highlight=False)
