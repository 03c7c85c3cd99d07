"""``f2edge calibrate``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

import f2edge
from f2edge.bundle.manifest import open_graph
from f2edge.cli.eval import check_packages
from f2edge.cli.options import PATH, POSITIVE, bundle_argument, device_option, json_option, threads_option
from f2edge.cli.output import check_writable, print_json, print_note, print_table, progress_bar

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.tasks.confidence import Calibration


@click.command("calibrate")
@bundle_argument
@click.option("--data", required=True, metavar="DIR", type=PATH, help="Folder of a data set, or its annotation file.")
@click.option("--limit", metavar="N", type=POSITIVE, help="Use the first N pictures only.")
@device_option
@threads_option
@json_option
def command(
    *, bundle: Path, data: Path, limit: int | None, device: str | None, threads: int | None, as_json: bool
) -> None:
    """Fit the confidences of BUNDLE to a data set, and write them into its manifest.

    They replace those that it has.  Measure them with f2edge eval on other pictures.
    """
    check_packages()
    from f2edge.calibration.confidence import fit_confidences, marking
    from f2edge.evaluation import ask
    from f2edge.evaluation.samples import summary

    open_graph(bundle, "answers", check_hashes=False)  # before the data is read, which may take minutes
    check_writable(bundle)
    dataset = marking(data, limit)
    for line in summary(dataset.notes):
        print_note(line)
    with f2edge.load(bundle, device, threads=threads) as model, progress_bar(len(dataset.samples)) as progress:
        run = ask(model, dataset.samples, 1, progress)
    fitted = fit_confidences(run.answers.values())
    replace(model.bundle, confidence=fitted).write_manifest()
    _print(bundle, run.pictures, fitted, as_json=as_json)


def _print(bundle: Path, pictures: int, fitted: dict[str, Calibration], *, as_json: bool) -> None:
    if as_json:
        tasks = {task: {"objects": one.objects, "right": one.right} for task, one in fitted.items()}
        print_json({"bundle": str(bundle), "pictures": pictures, "tasks": tasks})
        return
    rows = [(task, str(one.objects), f"{100 * one.right / one.objects:.1f} %") for task, one in fitted.items()]
    print_table(("task", "objects fitted on", "right"), rows)
