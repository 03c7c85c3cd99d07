"""``f2edge bench``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from f2edge.bench import MEANINGS, bench
from f2edge.cli.bench_html import render
from f2edge.cli.completion import complete_path, complete_task
from f2edge.cli.options import PATH, POSITIVE, bundle_argument, device_option, json_option, threads_option
from f2edge.cli.output import check_place, print_json, print_table, progress_bar, replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bench import LatencyReport

_WARMUP = 2


_EPILOG = "\n\n".join(f"{stage}: {meaning}" for stage, meaning in MEANINGS.items())


@click.command("bench", epilog=_EPILOG)
@bundle_argument
@device_option
@threads_option
@click.option(
    "--image",
    metavar="F",
    shell_complete=complete_path,
    help="Picture to ask about; by default the golden picture of the bundle.",
)
@click.option(
    "--task",
    default="caption",
    show_default=True,
    shell_complete=complete_task,
    help="Task; one that needs no text and no region.",
)
@click.option(
    "--num-beams", metavar="N", type=POSITIVE, help="Number of beams; by default that of the bundle, usually 3."
)
@click.option("--new-tokens", metavar="N", type=POSITIVE, help="Generate exactly N tokens.")
@click.option("--runs", metavar="N", type=POSITIVE, default=10, show_default=True, help="Number of measured runs.")
@click.option("--html", metavar="OUT", type=PATH, help="Write an HTML page with a table and a chart.")
@json_option
def command(
    *,
    bundle: Path,
    device: str | None,
    threads: int | None,
    image: str | None,
    task: str,
    num_beams: int | None,
    new_tokens: int | None,
    runs: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Measure the latency of every stage of an answer: a table on stderr, JSON on stdout (one line with --json)."""
    if html is not None:
        check_place("--html", html)
    with progress_bar(_WARMUP + runs) as progress:
        report = bench(
            bundle,
            device,
            image,
            task,
            num_beams=num_beams,
            new_tokens=new_tokens,
            threads=threads,
            runs=runs,
            warmup=_WARMUP,
            progress=progress,
        )
    _print(report)
    print_json(report.to_json(), indent=None if as_json else 2)
    if html is not None:
        replace_file(html, render(report, bundle.resolve().name).encode())


def _print(report: LatencyReport) -> None:
    names = ("p50", "p90", "p99", "mean", "stdev")
    rows = [(stage, *(f"{values[name]:.2f}" for name in names)) for stage, values in report.statistics().items()]
    print_table(("stage, ms", *names), rows, err=True)
    memory = "unknown" if report.peak_rss_mib is None else f"{report.peak_rss_mib:.0f} MiB"
    answer = f"{report.tokens} tokens in {report.steps} decoder steps, {report.num_beams} beams"
    click.echo(f"{report.runs} runs, {answer}, peak memory {memory}", err=True)
