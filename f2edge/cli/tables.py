"""Tables about a bundle that several subcommands print."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from f2edge.cli.output import human_size, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.bundle.levels import FeatureMaps
    from f2edge.bundle.manifest import Bundle
    from f2edge.bundle.quantization import Block, MeasuredMix, Quantization
    from f2edge.bundle.verified import Verified


def component_size(bundle: Bundle, name: str) -> int:
    """Return the size of the graph of a component in bytes, without the weights, which the graphs share."""
    return bundle.file(name).stat().st_size


def total_size(bundle: Bundle) -> str:
    """Return the size of the whole bundle, such as "28.7 MiB"."""
    return human_size(bundle.size_bytes)


def print_components(bundle: Bundle) -> None:
    """Print the precision, the type of the float operations, the size and the file of every component."""
    rows: list[Sequence[str]] = [
        (name, component.precision, component.compute, human_size(component_size(bundle, name)), component.file)
        for name, component in bundle.components.items()
    ]
    shared = {file for component in bundle.components.values() for file in component.sha256 if file != component.file}
    rows += [("weights", "", "", human_size((bundle.path / file).stat().st_size), file) for file in sorted(shared)]
    print_table(("component", "precision", "float operations", "size", "file"), rows)


def _number(value: float | None, spec: str) -> str:
    """JSON has null for what is not a number."""
    return "nan" if value is None else format(value, spec)


def print_verified(verified: Verified) -> None:
    """Print what ``verify`` measured: of components, or of the levels of a backbone, which answers nothing."""
    rows = [
        (
            name,
            str(component.precision),
            _number(component.relative_error, ".2g"),
            f"{component.tolerance:.2g}",
            _number(component.sqnr_db, ".1f"),
            "yes" if component.passed else "NO",
        )
        for name, component in verified.components.items()
    ]
    head = "component" if verified.answers else "level"
    print_table((head, "precision", "relative error", "allowed", "SQNR dB", "passed"), rows)
    if not verified.answers:
        return
    click.echo()
    answers = [
        (answer.task, str(answer.num_beams), f"{answer.agreeing} of {answer.tokens}") for answer in verified.answers
    ]
    print_table(("answer", "beams", "tokens agreeing"), answers)


def print_levels(maps: FeatureMaps) -> None:
    """Print the maps of a backbone."""
    rows = [
        (level.name, str(level.index + 1), f"1/{level.reduction}", str(level.num_chs)) for level in maps.feature_info
    ]
    print_table(("level", "stage", "size", "channels"), rows)


def print_quantization(quantization: Quantization | None) -> None:
    """Print what was measured of INT8, if anything: each block alone, and the mixes that were tried."""
    if not quantization:
        return
    if quantization.blocks:
        click.echo("\neach block alone in INT8:")
        columns = ("component", "block", "share of work", "SQNR dB", "divergence", "worst loss of a metric")
        print_table(columns, [_block(block) for block in quantization.blocks])
    if quantization.budget is not None:
        click.echo(f"\nmixes, the fastest first; budget {quantization.budget:.2%}:")
        rows = [_mix(mix) for mix in quantization.mixes]
        print_table(("blocks in INT8", "rest in", "ms an answer", "loss", ""), rows)


def _block(block: Block) -> tuple[str, ...]:
    numbers = (f"{block.operations:.1%}", f"{block.sqnr_db:.1f}", f"{block.divergence:.2g}", _loss(block.loss))
    return (block.component, block.name, *numbers)


def _mix(mix: MeasuredMix) -> tuple[str, ...]:
    chosen = "chosen" if mix.chosen else ""
    return (str(mix.int8_blocks), mix.compute, f"{mix.milliseconds:.1f}", _loss(mix.loss), chosen)


def _loss(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.2%}"
