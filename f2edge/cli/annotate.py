"""``f2edge annotate``."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import click

import f2edge
from f2edge.annotate.settings import (
    ALL,
    DEFAULT_CONFIDENCE,
    DEFAULT_NMS,
    DEFAULT_SHARD,
    Settings,
    parse_tasks,
    read_blacklist,
)
from f2edge.bundle.manifest import open_bundle, sha256
from f2edge.bundle.writing import MANIFEST
from f2edge.cli.annotations import print_statistics
from f2edge.cli.options import PATH, POSITIVE, bundle_argument, device_option, json_option, threads_option
from f2edge.cli.output import print_note, rate_bar
from f2edge.errors import InputError, MissingExtraError
from f2edge.json_text import json_text
from f2edge.tasks.table import short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from f2edge.annotate.description import Description
    from f2edge.annotate.directory import Directory
    from f2edge.annotate.records import Record
    from f2edge.annotate.sources import Pictures
    from f2edge.annotate.statistics import Statistics

FORMATS = ("parquet", "coco", "yolo", "webdataset", "labelstudio")
"""The first one is always written."""
DEFAULT_SHEET = 24
_SHARE = click.FloatRange(0, 1)


@click.command("annotate", epilog=f"Tasks: {', '.join(map(short_name, ALL))}.")
@bundle_argument
@click.argument("images", metavar="IMAGES")
@click.option("-o", "--output", required=True, metavar="OUT", type=PATH, help="Directory of the annotations.")
@click.option("--tasks", metavar="T,T", help="What to annotate with, see below; by default all of it.")
@click.option(
    "--min-confidence",
    metavar="C",
    type=_SHARE,
    default=DEFAULT_CONFIDENCE,
    show_default=True,
    help="Drop regions and phrases that are less certain, 0 to 1.",
)
@click.option(
    "--nms",
    metavar="IOU",
    type=click.FloatRange(0, 1, min_open=True),
    default=DEFAULT_NMS,
    show_default=True,
    help="Drop a region that overlaps a more certain one of its task by at least this.",
)
@click.option(
    "--min-objects",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Drop texts of which the model locates fewer distinct phrases.",
)
@click.option(
    "--min-relations",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Drop texts that join fewer pairs of phrases by words.",
)
@click.option("--blacklist", metavar="FILE", type=PATH, help="Drop what has one of these phrases, one a line.")
@click.option("--num-beams", metavar="N", type=POSITIVE, help="Number of beams; by default that of the bundle.")
@click.option("--max-new-tokens", metavar="N", type=POSITIVE, help="Length of the longest answer in tokens.")
@click.option(
    "--shard",
    metavar="N",
    type=POSITIVE,
    help=f"Pictures of a file of OUT; by default {DEFAULT_SHARD}, or as in --refine.",
)
@click.option(
    "--refine",
    metavar="OUT0",
    type=PATH,
    help="Directory of a finished run about the same pictures: its annotations are replaced where those of this run "
    "are more certain.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    help="Also write what is kept in this format, into a directory of its name in OUT; repeat it for several.",
)
@click.option(
    "--sheet",
    metavar="N",
    type=click.IntRange(min=0),
    default=DEFAULT_SHEET,
    show_default=True,
    help="Pictures of the contact sheet, sheet.html in OUT; 0 for none.",
)
@click.option(
    "--workers",
    metavar="N",
    type=POSITIVE,
    default=1,
    show_default=True,
    help="Pictures that are annotated at the same time; the weights are in memory once.",
)
@device_option
@threads_option
@json_option
def command(
    *,
    bundle: Path,
    images: str,
    output: Path,
    tasks: str | None,
    min_confidence: float,
    nms: float,
    min_objects: int,
    min_relations: int,
    blacklist: Path | None,
    num_beams: int | None,
    max_new_tokens: int | None,
    shard: int | None,
    refine: Path | None,
    formats: tuple[str, ...],
    sheet: int,
    workers: int,
    device: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Annotate pictures with texts, regions and phrases, and filter what the model says.

    IMAGES is a folder, a pattern such as 'photos/**/*.jpg', a tar or Parquet file with pictures, or a text file with
    one path a line.  A run that was stopped or killed goes on when the same command is called again.
    """
    check_package()
    from f2edge.annotate.description import Description
    from f2edge.annotate.directory import open_finished
    from f2edge.annotate.sources import find_pictures

    before = open_finished(refine) if refine else None
    settings = Settings(
        parse_tasks(tasks.split(",") if tasks is not None else ALL),
        shard=_shard(shard, before),
        min_confidence=min_confidence,
        nms=nms,
        min_objects=min_objects,
        min_relations=min_relations,
        blacklist=read_blacklist(blacklist) if blacklist else (),
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
    )
    open_bundle(bundle, check_hashes=False)  # before the pictures are listed, which may take minutes
    pictures = find_pictures(images)
    if pictures.repeated:
        print_note(f"{images} names {pictures.repeated} pictures again; each is annotated once")
    sources = {"count": len(pictures.pictures), "sha256": pictures.sha256()}
    made_by = {"name": bundle.resolve().name, "sha256": sha256(bundle / MANIFEST)}
    description = Description(made_by, settings.to_json(), sources)
    if before:
        description = description.after(before.place, before.description)
    load = partial(f2edge.load, bundle, device, threads=threads, workers=workers)
    statistics = _run(_Run(load, settings, pictures, output, description, before, workers), formats, sheet)
    print_statistics(statistics, as_json=as_json)


class _Run(NamedTuple):
    """What is to be done."""

    load: Callable[[], f2edge.Florence2]
    settings: Settings
    pictures: Pictures
    output: Path
    description: Description
    before: Directory | None
    workers: int


def _shard(wanted: int | None, before: Directory | None) -> int:
    """Return the size of shards, which is that of the run that is refined.

    Raises:
        InputError: another one is wanted.
    """
    there = int(before.description.settings["shard"]) if before else None
    if wanted and there and wanted != there:
        raise InputError(f"`shard` is {wanted}, but that of the run to `refine` is {there}; leave `shard` out")
    return wanted or there or DEFAULT_SHARD


def check_package() -> None:
    """Name the extra to install before any work is done.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "annotate")


def _run(run: _Run, formats: Sequence[str], sheet: int) -> Statistics:
    """Annotate what is not annotated yet, count everything, and write what is made of it."""
    from f2edge.annotate.directory import SHEET, STATISTICS, open_directory
    from f2edge.annotate.exporting import export
    from f2edge.annotate.files import write_durably
    from f2edge.annotate.sheet import render
    from f2edge.annotate.statistics import count

    with open_directory(run.output, run.description) as directory:
        if directory.missing():
            with run.load() as model:
                model.settings(run.settings.num_beams, run.settings.max_new_tokens)  # refuses what the bundle cannot do
                _annotate(run, directory, model)
        statistics = count(directory.paths(), directory.description)
        write_durably(run.output / STATISTICS, (json_text(statistics.to_json(), indent=2) + "\n").encode())
        if sheet:
            write_durably(run.output / SHEET, render(directory, run.pictures, sheet, statistics).encode())
        for name in formats:
            if name != FORMATS[0]:
                export(directory, run.pictures, name)
    return statistics


def _annotate(run: _Run, directory: Directory, model: f2edge.Florence2) -> None:
    from f2edge.annotate.asking import Annotator
    from f2edge.annotate.refining import refine
    from f2edge.annotate.running import annotate

    about, before = directory.description, run.before
    annotator = Annotator(model, run.settings, about.bundle["sha256"], about.passed)

    def refined(shard: int, records: Sequence[Record]) -> Sequence[Record]:
        return refine(list(before.read(shard)), records, run.settings) if before else records

    total = len(run.pictures.pictures)
    todo = sum(len(run.pictures.shard(shard, run.settings.shard)) for shard in directory.missing())
    with rate_bar("pictures", total, total - todo) as done:
        annotate(directory, run.pictures, annotator, workers=run.workers, done=done, refined=refined)
