"""``f2edge eval``."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

import f2edge
from f2edge.bundle.manifest import open_graph, sha256
from f2edge.bundle.writing import MANIFEST
from f2edge.cli.options import PATH, POSITIVE, device_option, threads_option
from f2edge.cli.output import print_json, print_note, progress_bar
from f2edge.errors import MissingExtraError
from f2edge.machine import memory_mib

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.evaluation import Dataset, Report, Run
    from f2edge.model import Florence2

_PACKAGES = {"faster_coco_eval": "faster-coco-eval", "rapidfuzz": "rapidfuzz", "shapely": "shapely"}

_MEMORY_PER_BYTE = 8
"""Bytes of memory that there must be for each byte of a bundle that stays open: weights are expanded, and half of the
memory is for others."""


@click.command("eval")
@click.argument("bundles", metavar="BUNDLE...", nargs=-1, required=True, type=PATH)
@click.option("--data", required=True, metavar="DIR", type=PATH, help="Folder of a data set, or its annotation file.")
@click.option("--limit", metavar="N", type=POSITIVE, help="Use the first N pictures only.")
@device_option
@threads_option
@click.option(
    "--num-beams", metavar="N", type=POSITIVE, help="Number of beams; by default that of each bundle, usually 3."
)
@click.option("--json/--markdown", "as_json", default=False, help="Print JSON, or a table (the default).")
def command(
    *,
    bundles: tuple[Path, ...],
    data: Path,
    limit: int | None,
    device: str | None,
    threads: int | None,
    num_beams: int | None,
    as_json: bool,
) -> None:
    """Measure the accuracy of BUNDLE on a data set; several bundles are compared."""
    check_packages()
    from f2edge.evaluation import open_dataset
    from f2edge.evaluation.pictures import check_pictures
    from f2edge.evaluation.samples import summary

    for bundle in bundles:
        open_graph(bundle, "answers", check_hashes=False)  # before the data set is read, which may take minutes
    dataset = open_dataset(data)
    if limit and limit > len(dataset.samples):
        print_note(f"{data} has {len(dataset.samples)} pictures, fewer than --limit {limit}")
    dataset = check_pictures(dataset.first(limit))
    for line in summary(dataset.notes):
        print_note(line)
    report = _measure(bundles, dataset, partial(f2edge.load, device=device, threads=threads), num_beams)
    for note in report.notes():
        print_note(note)
    print_json(report.to_json()) if as_json else click.echo(report.to_markdown())
    if report.interrupted:
        raise KeyboardInterrupt  # the exit code says that it is not everything


def check_packages() -> None:
    """Name the extra to install before any work is done.

    Raises:
        MissingExtraError: a package of the extra ``eval`` is not installed.
    """
    for module, package in _PACKAGES.items():
        if find_spec(module) is None:
            raise MissingExtraError(package, "eval")


def _measure(
    bundles: tuple[Path, ...], dataset: Dataset, load: Callable[[Path], Florence2], num_beams: int | None
) -> Report:
    """Ask one bundle after the other; an interrupt keeps what is finished."""
    from f2edge.evaluation import Report, Run, ask

    places, runs = _names(bundles), dict[str, Run]()
    models = _open_all(places, load)
    try:
        with progress_bar(len(places) * len(dataset.samples)) as progress:
            for name, bundle in places.items():
                runs[name] = Run(bundle_sha256=sha256(bundle / MANIFEST))
                with models.pop(name, None) or load(bundle) as model:
                    ask(model, dataset.samples, num_beams, progress, runs[name])
    except KeyboardInterrupt:
        if not any(run.answers for run in runs.values()):
            raise
        return Report.of(dataset, _finished(runs, len(places), len(dataset.samples)), num_beams, interrupted=True)
    return Report.of(dataset, runs, num_beams)


def _open_all(places: dict[str, Path], load: Callable[[Path], Florence2]) -> dict[str, Florence2]:
    """Open all bundles, so that one that its device cannot load is told before hours of work.

    Returns:
        The models that stay open: the first one, and as many others as the memory has room for.
    """
    models: dict[str, Florence2] = {}
    room = (memory_mib() or 0) * 2**20 // _MEMORY_PER_BYTE
    for name, bundle in places.items():
        model = load(bundle)
        room -= model.bundle.size_bytes
        if models and room < 0:
            model.close()
        else:
            models[name] = model
    return models


def _finished(runs: dict[str, Run], bundles: int, pictures: int) -> dict[str, Run]:
    """Say what was finished before an interrupt, and return it: all whole runs, or the begun first one."""
    *whole, last = runs
    if whole:
        print_note(f"interrupted: {len(whole)} of {bundles} bundles are finished; {last} is left out")
        return {name: runs[name] for name in whole}
    print_note(f"interrupted: {last} was asked about {runs[last].pictures} of {pictures} pictures")
    return runs


def _names(bundles: tuple[Path, ...]) -> dict[str, Path]:
    """Return the bundles by the names of their directories, or by their paths if names repeat."""
    short = {bundle.resolve().name: bundle for bundle in bundles}
    return short if len(short) == len(bundles) else {str(bundle): bundle for bundle in bundles}
