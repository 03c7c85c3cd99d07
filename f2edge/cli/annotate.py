"""``f2edge annotate``."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

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
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.sources import Pictures
    from f2edge.annotate.statistics import Statistics
    from f2edge.annotate.working import Job

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
    help="Drop texts with fewer distinct phrases that the model locates, or that --parser finds.",
)
@click.option(
    "--min-relations",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Drop texts that join fewer pairs of phrases by words.",
)
@click.option(
    "--parser",
    metavar="PIPELINE",
    help="Pipeline of spaCy that finds the phrases of texts, such as en_core_web_sm, or its directory.",
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
    help="Pictures that are annotated at the same time.  Several are several processes, each with a model of its own.",
)
@click.option(
    "--ray",
    metavar="auto|ADDRESS",
    help="Annotate with Ray: on a cluster of this machine that is started for it, or on the one whose head is at "
    "HOST:PORT, a node of which this machine is.",
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
    parser: str | None,
    blacklist: Path | None,
    num_beams: int | None,
    max_new_tokens: int | None,
    shard: int | None,
    refine: Path | None,
    formats: tuple[str, ...],
    sheet: int,
    workers: int,
    ray: str | None,
    device: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Annotate pictures with texts, regions and phrases, and filter what the model says.

    IMAGES is a folder, a pattern such as 'photos/**/*.jpg', a tar or Parquet file with pictures, or a text file with
    one path a line; or one of these in an object store, such as 's3://bucket/photos'.  A run that was stopped or killed
    goes on when the same command is called again.
    """
    check_packages(ray)
    _check_output(output)
    from f2edge.annotate.description import Description
    from f2edge.annotate.directory import open_directory, open_finished
    from f2edge.annotate.parsing import open_parser
    from f2edge.annotate.refining import check_comparable
    from f2edge.annotate.sources import find_pictures
    from f2edge.annotate.working import Job

    before = open_finished(refine) if refine else None
    settings = Settings(
        parse_tasks(tasks.split(",") if tasks is not None else ALL),
        shard=_shard(shard, before),
        min_confidence=min_confidence,
        nms=nms,
        min_objects=min_objects,
        min_relations=min_relations,
        parser=open_parser(parser) if parser is not None else None,
        blacklist=read_blacklist(blacklist) if blacklist else (),
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
    )
    opened = open_bundle(bundle, check_hashes=False)  # before the pictures are listed, which may take minutes
    if before:
        check_comparable(before, settings, opened.confidence)
    pictures = find_pictures(images)
    if pictures.repeated:
        print_note(f"{images} names {pictures.repeated} pictures again; each is annotated once")
    sources = {"count": len(pictures.pictures), "sha256": pictures.sha256()}
    made_by = {"name": bundle.resolve().name, "sha256": sha256(bundle / MANIFEST)}
    description = Description(made_by, settings.to_json(), sources)
    if before:
        description = description.after(before.place, before.description)
    with open_directory(output, description) as directory:
        if directory.missing():
            _annotate(Job(bundle, settings, directory, before, device, threads), pictures, workers, ray)
        statistics = _finish(directory, pictures, formats, sheet)
    print_statistics(statistics, as_json=as_json)


def _shard(wanted: int | None, before: Directory | None) -> int:
    """Return the size of shards, which is that of the run that is refined.

    Raises:
        InputError: another one is wanted.
    """
    there = int(before.description.settings["shard"]) if before else None
    if wanted and there and wanted != there:
        raise InputError(f"`shard` is {wanted}, but that of the run to `refine` is {there}; leave `shard` out")
    return wanted or there or DEFAULT_SHARD


def check_packages(ray: str | None) -> None:
    """Name the extra to install before any work is done.

    Raises:
        MissingExtraError: pyarrow is not installed, or Ray that is asked for is not.
    """
    if find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "annotate")
    if ray and find_spec("ray") is None:
        raise MissingExtraError("ray", "ray")


def _check_output(output: Path) -> None:
    """Refuse a URL, which as a path would be a folder of this machine with a strange name.

    Raises:
        InputError: it is one.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", output.as_posix()) and not output.drive:
        raise InputError(f"`output` {output.as_posix()} is a place in a store; give a directory of this machine")


def _annotate(job: Job, pictures: Pictures, workers: int, ray: str | None) -> None:
    """Annotate what is not annotated yet, on this machine or on a cluster."""
    from f2edge.annotate.processes import annotate_here
    from f2edge.annotate.running import missing_shards

    shards = list(missing_shards(job.directory, pictures))
    total, todo = len(pictures.pictures), sum(len(shard.pictures) for shard in shards)
    with rate_bar("pictures", total, total - todo) as done:
        if ray:
            from f2edge.annotate.cluster.driver import annotate_on_cluster

            annotate_on_cluster(job, shards, workers, ray, done)
        else:
            annotate_here(job, shards, workers, done)


def _finish(directory: Directory, pictures: Pictures, formats: Sequence[str], sheet: int) -> Statistics:
    """Count everything that a finished run has made, and write what is made of it."""
    from f2edge.annotate.directory import SHEET, STATISTICS
    from f2edge.annotate.exporting import export
    from f2edge.annotate.files import write_durably
    from f2edge.annotate.sheet import render
    from f2edge.annotate.statistics import count

    statistics = count(directory.paths(), directory.description)
    write_durably(directory.place / STATISTICS, (json_text(statistics.to_json(), indent=2) + "\n").encode())
    if sheet:
        write_durably(directory.place / SHEET, render(directory, pictures, sheet, statistics).encode())
    for name in formats:
        if name != FORMATS[0]:
            export(directory, pictures, name)
    return statistics
