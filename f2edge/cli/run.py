"""``f2edge run``."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

import f2edge
from f2edge.cli.drawing import create_directories, destinations, save_drawing
from f2edge.cli.failure import print_failure, reason
from f2edge.cli.options import (
    PATH,
    POSITIVE,
    bundle_argument,
    device_option,
    json_option,
    region_callback,
    threads_option,
)
from f2edge.cli.output import print_json, spinner
from f2edge.cli.plain_text import answer_lines, remark
from f2edge.errors import InputError
from f2edge.tasks.table import TASKS, build_prompt, resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.model import Florence2
    from f2edge.result import Result
    from f2edge.tasks.table import Region


_NEEDS = {"none": "nothing", "text": "--text", "region": "--region"}


def _tasks() -> str:
    """Every task with what it needs, as lines that click leaves alone."""
    rows = [f"  {task.name.strip('<>').lower():<33}  {_NEEDS[task.input]}" for task in TASKS.values()]
    return "\n".join(("\b", "Tasks, and what each needs:", *rows, f"  {'(empty: a free prompt)':<33}  --text"))


@click.command("run", epilog=_tasks())
@bundle_argument
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--task", required=True, help='"<OD>" or od, see below; empty for a prompt of your own in --text.')
@click.option("--text", help="What the task needs: a caption, a phrase, a prompt.")
@click.option(
    "--region",
    metavar="X1,Y1,X2,Y2",
    callback=region_callback,
    help="What a task about a region needs, in pixels of the picture.",
)
@click.option("--num-beams", metavar="N", type=POSITIVE, help="By default the bundle's, mostly 3.")
@click.option("--max-new-tokens", metavar="N", type=POSITIVE, help="By default the bundle's, mostly 1024.")
@device_option
@threads_option
@click.option(
    "--draw",
    metavar="OUT",
    type=PATH,
    help="Draw what was found into a file, or into a directory, which several pictures need.",
)
@json_option
def command(
    *,
    bundle: Path,
    images: tuple[str, ...],
    task: str,
    text: str | None,
    region: Region | None,
    num_beams: int | None,
    max_new_tokens: int | None,
    device: str | None,
    threads: int | None,
    draw: Path | None,
    as_json: bool,
) -> None:
    """Ask BUNDLE one question about each IMAGE."""
    prompt = _prompt(task, text, region)
    drawings = destinations(draw, images)
    model = _open(bundle, device, threads, prompt)
    settings = model.settings(num_beams, max_new_tokens)
    create_directories(drawings)
    ask = partial(model.run, task=task, text=text, region=region, settings=settings)
    answered = [
        _answer(ask, image, drawing, several=len(images) > 1, as_json=as_json)
        for image, drawing in zip(images, drawings, strict=True)
    ]
    if not all(answered):
        sys.exit(1)


def _prompt(task: str, text: str | None, region: Region | None) -> str | None:
    """The prompt, where it needs no picture; so a wrong question fails before anything is loaded."""
    asked = resolve(task)
    return None if region and asked.input == "region" else build_prompt(asked, text, region)


def _open(bundle: Path, device: str | None, threads: int | None, prompt: str | None) -> Florence2:
    with spinner(f"opening {bundle}"):
        model = f2edge.load(bundle, device, threads=threads)
    if prompt is not None:
        model.prompt_ids(prompt)
    return model


def _answer(ask: Callable[[str], Result], image: str, drawing: Path | None, *, several: bool, as_json: bool) -> bool:
    """Ask about one picture, print the answer and draw it; false where one of that was not possible."""
    try:
        with spinner(image):
            result = ask(image)
    except InputError as error:
        print_failure(str(error) if image in str(error) else f"{image}: {error}")
        return False
    if as_json:
        print_json({"image": image, **result.to_json()})
    else:
        _print(image, result, several=several)
    return drawing is None or _draw(image, result, drawing)


def _draw(image: str, result: Result, drawing: Path) -> bool:
    """Write one drawing; a failure is told, and the pictures after it get theirs."""
    try:
        save_drawing(image, result, drawing)
    except (InputError, OSError) as error:
        print_failure(reason(error))
        return False
    return True


def _print(image: str, result: Result, *, several: bool) -> None:
    for line in answer_lines(result):
        click.echo(f"{image}\t{line}" if several else line)
    if note := remark(result):
        click.echo(f"{image}: {note}", err=True)
