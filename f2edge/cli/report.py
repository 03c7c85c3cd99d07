"""``f2edge report``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from f2edge.cli.options import PATH
from f2edge.cli.output import check_place, human_size, print_note, replace_file
from f2edge.reporting.bencher import bencher
from f2edge.reporting.figures import TITLE
from f2edge.reporting.markdown import markdown
from f2edge.reporting.results import read_results

if TYPE_CHECKING:
    from pathlib import Path

_KINDS = (".bencher.json", ".html", ".md")


def _output_callback(_ctx: click.Context, _param: click.Parameter, value: Path) -> Path:
    if not value.name.endswith(_KINDS):
        raise click.BadParameter(f"{value.name} ends in none of {', '.join(_KINDS)}.")
    return value


@click.command("report")
@click.argument("results", metavar="RESULT.json...", nargs=-1, required=True, type=PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    type=PATH,
    callback=_output_callback,
    help="File to write: a page (.html), a table (.md), or the format of Bencher (.bencher.json).",
)
@click.option("--title", metavar="TEXT", help="Title of the page or the table.")
@click.option("--picture", metavar="F", type=PATH, help="Picture for the page, such as one that run --draw has made.")
def command(*, results: tuple[Path, ...], output: Path, title: str | None, picture: Path | None) -> None:
    """Put measurements side by side: RESULT.json is what f2edge bench --json or f2edge eval --json printed."""
    if picture is not None and not output.name.endswith(".html"):
        raise click.UsageError("--picture goes with a page: name an -o that ends in .html.")
    check_place("--output", output)
    found = read_results(results)
    if output.name.endswith(".html"):
        from f2edge.reporting.page import render

        text = render(found, title, picture)
    else:
        text = (
            markdown(found, title or TITLE)
            if output.name.endswith(".md")
            else json.dumps(bencher(found), indent=2) + "\n"
        )
    replace_file(output, text.encode())
    count = len(found.measured)
    print_note(f"{output}: {count} measurement{'s' * (count != 1)}, {human_size(len(text.encode()))}")
