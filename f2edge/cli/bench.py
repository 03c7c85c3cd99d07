"""``f2edge bench``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from f2edge.bench import MEANINGS, Comparison, bench, compare
from f2edge.bundle.manifest import open_bundle
from f2edge.cli.completion import complete_path, complete_task
from f2edge.cli.options import PATH, POSITIVE, bundle_argument, device_option, json_option, threads_option
from f2edge.cli.output import NOTHING, check_place, print_json, print_note, print_table, progress_bar, replace_file
from f2edge.cli.repeating import repeating_command
from f2edge.errors import InputError
from f2edge.measuring.features import DEFAULT_RUNS, bench_features
from f2edge.measuring.scenarios import SCENARIOS
from f2edge.measuring.stages import FEATURES
from f2edge.measuring.statistics import LEAST_RUNS

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bench import LatencyReport

_WARMUP = 2
_OF_BACKBONES = ("bundle", "device", "image", "threads", "runs", "html", "as_json")
"""What may be asked of the bundle of a backbone."""
_EPILOG = "\n\n".join(f"{stage}: {meaning}" for stage, meaning in MEANINGS.items())


@click.command("bench", epilog=_EPILOG)
@bundle_argument
@click.option(
    "--against",
    metavar="BUNDLE",
    type=PATH,
    help="Measure another bundle in turns with this one, and give the ratio of their times with its interval.",
)
@click.option(
    "--scenario",
    type=click.Choice(SCENARIOS),
    default="single",
    show_default=True,
    help="One answer after the other; as many as possible at once; or one after the other for minutes.",
)
@click.option(
    "--duration",
    metavar="S",
    type=click.FloatRange(min=0),
    help="Measure for at least S seconds; by default 300 in the scenario sustained.",
)
@click.option(
    "--runs",
    metavar="N",
    type=POSITIVE,
    help="Measure at least N runs; by default 10, with --against 120 of each bundle.",
)
@click.option(
    "--workers", metavar="N", type=POSITIVE, help="Answers computed at the same time in the scenario offline."
)
@click.option("--batch", metavar="N", type=POSITIVE, help="Questions decoded together in the scenario offline.")
@click.option(
    "--starts",
    metavar="N",
    type=click.IntRange(min=0),
    help="Measure N cold and N warm starts in new processes; by default 1 in the scenario single.",
)
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
@click.option("--html", metavar="OUT", type=PATH, help="Write the page of f2edge report.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    bundle: Path,
    against: Path | None,
    html: Path | None,
    as_json: bool,
    scenario: str,
    runs: int | None,
    workers: int | None,
    batch: int | None,
    starts: int | None,
    **question: Any,
) -> None:
    """Measure how fast BUNDLE answers here: a table on stderr, JSON on stdout (one line with --json)."""
    if html is not None:
        check_place("--html", html)
    check_together(against, scenario, workers=workers, batch=batch, starts=starts)
    if open_bundle(bundle, check_hashes=False).graph == "backbone":
        measured_maps = _bench_backbone(ctx, bundle, {**question, "runs": runs, "warmup": _WARMUP})
        finish(measured_maps, repeating_command(ctx, ("html", "as_json")), html, as_json=as_json)
        return
    total = None if question["duration"] or scenario != "single" else _WARMUP + (runs or 10)
    with progress_bar(None if against else total) as progress:
        asked = {**question, "runs": runs, "warmup": _WARMUP, "progress": progress}
        if against:
            measured: LatencyReport | Comparison = compare(bundle, against, **asked)
        else:
            starts = (1 if scenario == "single" else 0) if starts is None else starts
            crowd: dict[str, Any] = {"scenario": scenario, "workers": workers, "batch": batch, "starts": starts}
            measured = bench(bundle, **asked, **crowd)
    finish(measured, repeating_command(ctx, ("html", "as_json")), html, as_json=as_json)


def _bench_backbone(ctx: click.Context, bundle: Path, asked: dict[str, Any]) -> LatencyReport:
    """Measure the feature maps of a backbone.

    Raises:
        InputError: an option about answers was given.
    """
    given = [name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if wrong := [name for name in given if name not in _OF_BACKBONES]:
        raise InputError(f"`{wrong[0]}` is about answers, and {bundle} gives feature maps; leave it out")
    with progress_bar(_WARMUP + (asked["runs"] or DEFAULT_RUNS)) as progress:
        wanted = {name: asked[name] for name in ("device", "image", "threads", "runs", "warmup")}
        return bench_features(bundle, **wanted, progress=progress)


def check_together(against: Path | None, scenario: str, **given: int | None) -> None:
    """Refuse options that do not go together.

    Raises:
        click.UsageError: two of them do not.
    """
    names = [f"--{name}" for name, value in given.items() if value is not None]
    if against and scenario != "single":
        raise click.UsageError(f"--against compares answers one after the other, not in the scenario {scenario}.")
    if against and names:
        raise click.UsageError(f"{', '.join(names)}: not with --against.")
    wrong = [name for name in names if name in ("--workers", "--batch")]
    if wrong and scenario != "offline":
        raise click.UsageError(f"{', '.join(wrong)}: only with --scenario offline.")


def finish(measured: LatencyReport | Comparison, repeat: str, html: Path | None, *, as_json: bool) -> None:
    """Print what was measured, and write the page."""
    if isinstance(measured, Comparison):
        measured = measured.with_command(repeat)
        for report in (measured.first, measured.second):
            _print(report)
        click.echo(measured.verdict(), err=True)
        warnings = measured.first.warnings
    else:
        measured = replace(measured, command=repeat)
        _print(measured)
        warnings = measured.warnings
    if warnings:
        print_note(f"warning: {'; '.join(warnings)}")
    print_json(measured.to_json(), indent=None if as_json else 2)
    if html is not None:
        from f2edge.reporting import page_of

        replace_file(html, page_of(measured).encode())


def _print(report: LatencyReport) -> None:
    names = (*(f"p{rank}" for rank in LEAST_RUNS), "mean", "stdev")
    rows = [
        (stage, *(NOTHING if values[name] is None else f"{values[name]:.2f}" for name in names))
        for stage, values in report.statistics().items()
    ]
    print_table(("stage, ms", *names), rows, err=True)
    print_note("; ".join(_summary(report)))


def _unit(report: LatencyReport) -> str:
    return "pictures" if report.task == FEATURES else "answers"


def _summary(report: LatencyReport) -> list[str]:
    memory = "unknown" if report.peak_rss_mib is None else f"{report.peak_rss_mib:.0f} MiB"
    answer = f"{report.tokens} tokens in {report.steps} decoder steps, {report.num_beams} beams"
    if report.task == FEATURES:
        answer = f"{FEATURES} of {report.image_size[0]}x{report.image_size[1]} pixels"
    parts = [f"{report.bundle}: {report.runs} runs, {answer}, peak memory {memory}"]
    parts += [f"{report.answers_per_s:.2f} {_unit(report)} a second"] if report.answers_per_s else []
    if report.energy:
        one = report.energy
        parts.append(f"{one.joules / one.answers:.3g} J an answer ({one.source}: {', '.join(one.parts)})")
    if report.starts:
        cold, warm = report.starts.cold, report.starts.warm
        parts.append(
            f"a new process answers after {cold.process_ms / 1e3:.1f} s cold, {warm.process_ms / 1e3:.1f} s warm"
        )
    missing = [f"p{rank} takes {least} runs" for rank, least in LEAST_RUNS.items() if report.runs < least]
    return parts + missing
