"""``f2edge run``."""

from __future__ import annotations

import io
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, get_args

import click

import f2edge
from f2edge.asking.stopped import StoppedError
from f2edge.asking.tiles import check_tiled
from f2edge.cli.completion import complete_path, complete_task
from f2edge.cli.drawing import STANDARD_INPUT, destinations, save_drawing
from f2edge.cli.failure import print_failure, reason, with_options
from f2edge.cli.options import (
    PATH,
    POSITIVE,
    bundle_argument,
    device_option,
    json_option,
    region_callback,
    threads_option,
)
from f2edge.cli.output import print_json, print_note, spinner
from f2edge.cli.plain_text import answer_lines, remark
from f2edge.errors import DeviceWarning, InputError
from f2edge.image import MAX_STREAM_BYTES
from f2edge.lines import one_line
from f2edge.selfcheck import OnMismatch
from f2edge.tasks.labels import text_of, wanted_labels
from f2edge.tasks.structured import check_structured
from f2edge.tasks.table import TASKS, build_prompt, resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.model import Florence2
    from f2edge.result import Result
    from f2edge.tasks.table import Region


_NEEDS = {"none": "none", "text": "--text", "region": "--region"}


def _tasks() -> str:
    """List every task with its input, as lines that click does not wrap."""
    rows = [f"  {task.name.strip('<>').lower():<33}  {_NEEDS[task.input]}" for task in TASKS.values()]
    return "\n".join(("\b", "Tasks and their input:", *rows, f"  {'(empty: a free prompt)':<33}  --text"))


@click.command("run", epilog=_tasks())
@bundle_argument
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=complete_path)
@click.option(
    "--task",
    required=True,
    shell_complete=complete_task,
    help='Task, such as od or "<OD>", see below; "" for a free prompt in --text.',
)
@click.option("--text", help="Text input of the task: a caption, a phrase or a prompt.")
@click.option(
    "--label",
    "labels",
    metavar="L",
    multiple=True,
    help="Label that may come; repeat it for several.  No other label comes, and the answer is structured.  Without "
    "--text, tasks that need a text get the labels.",
)
@click.option(
    "--region",
    metavar="X1,Y1,X2,Y2",
    callback=region_callback,
    help="Region that the task is about, in pixels of the picture.",
)
@click.option(
    "--structured",
    is_flag=True,
    help="Hold the answer to the structure of its task: whole objects only, ordered coordinates, no box twice with its "
    "label.",
)
@click.option(
    "--tile",
    metavar="N",
    type=POSITIVE,
    help="Also ask about every tile of N x N pixels, so that small objects of a large picture are seen.  For od, "
    "dense_region_caption, region_proposal and ocr_with_region.",
)
@click.option(
    "--num-beams", metavar="N", type=POSITIVE, help="Number of beams; by default that of the bundle, usually 3."
)
@click.option(
    "--max-new-tokens",
    metavar="N",
    type=POSITIVE,
    help="Length of the longest answer; by default that of the bundle, usually 1024.",
)
@click.option(
    "--timeout",
    metavar="S",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds after which an answer is stopped and counts as failed; by default it takes as long as it takes.",
)
@device_option
@threads_option
@click.option(
    "--on-mismatch",
    type=click.Choice(get_args(OnMismatch)),
    help="Check the bundle on this device at its first use there: stop if it computes wrong values (error), run the "
    "wrong components on the CPU (fallback), or go on (warn).  By default it is not checked.",
)
@click.option(
    "--draw",
    metavar="OUT",
    type=PATH,
    help="Draw boxes, masks and texts into a picture file; several pictures need a directory.",
)
@json_option
def command(
    *,
    bundle: Path,
    images: tuple[str, ...],
    task: str,
    text: str | None,
    labels: tuple[str, ...],
    region: Region | None,
    structured: bool,
    tile: int | None,
    num_beams: int | None,
    max_new_tokens: int | None,
    timeout: float | None,
    device: str | None,
    threads: int | None,
    on_mismatch: OnMismatch | None,
    draw: Path | None,
    as_json: bool,
) -> None:
    """Ask BUNDLE one question about each IMAGE; - is the picture on standard input."""
    wanted = _labels(task, labels, structured=structured)
    if tile:
        check_tiled(resolve(task))
    prompt = _prompt(task, text, wanted, region)
    drawings = destinations(draw, images)
    model = _open(bundle, device, threads, on_mismatch)
    if prompt is not None:
        model.prompt_ids(prompt)
    settings = model.settings(num_beams, max_new_tokens)
    ask = partial(
        model.run,
        task=task,
        text=text,
        labels=wanted,
        region=region,
        structured=structured,
        settings=settings,
        tile=tile,
        timeout=timeout,
    )
    pictures = {image: _picture(image) for image in dict.fromkeys(images)}  # standard input is read once
    answered = [
        _answer(ask, pictures[image], drawing, several=len(images) > 1, as_json=as_json)
        for image, drawing in zip(images, drawings, strict=True)
    ]
    if not all(answered):
        sys.exit(1)


def _labels(task: str, labels: tuple[str, ...], *, structured: bool) -> tuple[str, ...] | None:
    """Return the wanted labels, so that structure where there is none fails before anything is loaded."""
    asked = resolve(task)
    check_structured(asked, structured)
    return wanted_labels(asked, labels or None)


def _prompt(task: str, text: str | None, labels: tuple[str, ...] | None, region: Region | None) -> str | None:
    """Return the prompt if it depends on no picture, so that a wrong question fails before anything is loaded."""
    asked = resolve(task)
    return None if region and asked.input == "region" else build_prompt(asked, text_of(asked, text, labels), region)


def _open(bundle: Path, device: str | None, threads: int | None, on_mismatch: OnMismatch | None) -> Florence2:
    """Open the bundle; a warning about a device that computes wrong values is one line on stderr."""
    with spinner(f"opening {bundle}"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeviceWarning)
        model = f2edge.load(bundle, device, threads=threads, on_mismatch=on_mismatch)
    for warning in caught:
        print_failure(str(warning.message))
    return model


class _Picture(NamedTuple):
    """A picture by the name that the user gave, and what to open for it."""

    name: str
    source: str | io.BytesIO


def _picture(name: str) -> _Picture:
    """Return the picture of a name; "-" is the picture on standard input.

    Raises:
        InputError: standard input is closed.
    """
    if name != STANDARD_INPUT:
        return _Picture(name, name)
    try:
        return _Picture(name, io.BytesIO(sys.stdin.buffer.read(MAX_STREAM_BYTES + 1)))
    except (AttributeError, ValueError, OSError) as error:  # it may be closed, or not be there at all
        raise InputError("standard input cannot be read; redirect a picture to it") from error


def _answer(
    ask: Callable[..., Result], picture: _Picture, drawing: Path | None, *, several: bool, as_json: bool
) -> bool:
    """Ask about one picture, print the answer and draw it; return whether all of that succeeded."""
    try:
        with spinner(picture.name):
            result = ask(picture.source)
    except (InputError, StoppedError) as error:
        told = _told(error)
        print_failure(told if picture.name in told else f"{picture.name}: {told}")
        return False
    if as_json:
        print_json({"image": picture.name, **result.to_json()})
    else:
        _print(picture.name, result, several=several)
    return drawing is None or _draw(picture, result, drawing)


def _draw(picture: _Picture, result: Result, drawing: Path) -> bool:
    """Write one drawing; a failure is printed, and the next pictures go on."""
    try:
        save_drawing(picture.source, result, drawing)
    except (InputError, OSError) as error:
        print_failure(_told(error))
        return False
    return True


def _told(error: InputError | StoppedError | OSError) -> str:
    """Return the reason of an error about one picture, with options in place of arguments."""
    return with_options(reason(error), click.get_current_context().command)


def _print(image: str, result: Result, *, several: bool) -> None:
    for line in answer_lines(result):
        click.echo(f"{one_line(image)}\t{line}" if several else line)
    if note := remark(result):
        print_note(f"{image}: {note}")
