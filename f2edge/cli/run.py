"""``f2edge run``."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import click

import f2edge
from f2edge.cli.completion import complete_path, complete_task
from f2edge.cli.drawing import destinations, save_drawing
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
    "--region",
    metavar="X1,Y1,X2,Y2",
    callback=region_callback,
    help="Region that the task is about, in pixels of the picture.",
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
@device_option
@threads_option
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
    ask = partial(model.run, task=task, text=text, region=region, settings=settings)
    answered = [
        _answer(ask, image, drawing, several=len(images) > 1, as_json=as_json)
        for image, drawing in zip(images, drawings, strict=True)
    ]
    if not all(answered):
        sys.exit(1)


def _prompt(task: str, text: str | None, region: Region | None) -> str | None:
    """Return the prompt if it depends on no picture, so that a wrong question fails before anything is loaded."""
    asked = resolve(task)
    return None if region and asked.input == "region" else build_prompt(asked, text, region)


def _open(bundle: Path, device: str | None, threads: int | None, prompt: str | None) -> Florence2:
    with spinner(f"opening {bundle}"):
        model = f2edge.load(bundle, device, threads=threads)
    if prompt is not None:
        model.prompt_ids(prompt)
    return model


def _answer(ask: Callable[[str], Result], image: str, drawing: Path | None, *, several: bool, as_json: bool) -> bool:
    """Ask about one picture, print the answer and draw it; return whether all of that succeeded."""
    try:
        with spinner(image):
            result = ask(image)
    except InputError as error:
        told = _told(error)
        print_failure(told if image in told else f"{image}: {told}")
        return False
    if as_json:
        print_json({"image": image, **result.to_json()})
    else:
        _print(image, result, several=several)
    return drawing is None or _draw(image, result, drawing)


def _draw(image: str, result: Result, drawing: Path) -> bool:
    """Write one drawing; a failure is printed, and the next pictures go on."""
    try:
        save_drawing(image, result, drawing)
    except (InputError, OSError) as error:
        print_failure(_told(error))
        return False
    return True


def _told(error: InputError | OSError) -> str:
    """Return the reason of an error about one picture, with options in place of arguments."""
    return with_options(reason(error), click.get_current_context().command)


def _print(image: str, result: Result, *, several: bool) -> None:
    for line in answer_lines(result):
        click.echo(f"{image}\t{line}" if several else line)
    if note := remark(result):
        click.echo(f"{image}: {note}", err=True)
