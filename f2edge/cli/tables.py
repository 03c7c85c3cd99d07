"""Tables about a bundle that several subcommands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from f2edge.cli.output import human_size, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from f2edge.bundle.manifest import Bundle


def component_size(bundle: Bundle, name: str) -> int:
    """Return the size of the graph of a component in bytes, without the weights, which the graphs share."""
    return bundle.file(name).stat().st_size


def total_size(bundle: Bundle) -> str:
    """Return the size of the whole bundle, such as "28.7 MiB"."""
    return human_size(bundle.size_bytes)


def print_components(bundle: Bundle) -> None:
    """Print the precision, size and file of every component."""
    rows = [
        (name, str(component.precision), human_size(component_size(bundle, name)), component.file)
        for name, component in bundle.components.items()
    ]
    shared = {file for component in bundle.components.values() for file in component.sha256 if file != component.file}
    rows += [("weights", "", human_size((bundle.path / file).stat().st_size), file) for file in sorted(shared)]
    print_table(("component", "precision", "size", "file"), rows)


def _number(value: float | None, spec: str) -> str:
    """JSON has null for what is not a number."""
    return "nan" if value is None else format(value, spec)


def print_verified(verified: Mapping[str, Any]) -> None:
    """What ``verify`` measured (:meth:`f2edge.verify.Report.to_json`)."""
    rows = [
        (
            name,
            check["precision"],
            _number(check["relative_error"], ".2g"),
            f"{check['tolerance']:.2g}",
            _number(check["sqnr_db"], ".1f"),
            "yes" if check["passed"] else "NO",
        )
        for name, check in verified["components"].items()
    ]
    print_table(("component", "precision", "relative error", "allowed", "SQNR dB", "passed"), rows)
    click.echo()
    answers = [
        (answer["task"], str(answer["num_beams"]), f"{answer['agreeing']} of {answer['tokens']}")
        for answer in verified["answers"]
    ]
    print_table(("answer", "beams", "tokens agreeing"), answers)


def print_quantization(found: Mapping[str, Any]) -> None:
    """What was measured of INT8, if anything: each block alone, and the mixes that were tried."""
    if blocks := found.get("blocks"):
        click.echo("\neach block alone in INT8:")
        columns = ("component", "block", "share of work", "SQNR dB", "divergence", "worst loss of a metric")
        print_table(columns, [_block(block) for block in blocks])
    if mixes := found.get("mixes"):
        click.echo(f"\nmixes, the fastest first; budget {found['budget']:.2%}:")
        print_table(("blocks in INT8", "rest in", "ms an answer", "loss", ""), [_mix(mix) for mix in mixes])


def _block(block: Mapping[str, Any]) -> tuple[str, ...]:
    loss = "–" if block["loss"] is None else f"{block['loss']:.2%}"
    numbers = (f"{block['operations']:.1%}", f"{block['sqnr_db']:.1f}", f"{block['divergence']:.2g}", loss)
    return (block["component"], block["name"], *numbers)


def _mix(mix: Mapping[str, Any]) -> tuple[str, ...]:
    loss = "–" if mix["loss"] is None else f"{mix['loss']:.2%}"
    chosen = "chosen" if mix["chosen"] else ""
    return (str(mix["int8_blocks"]), mix["compute"], f"{mix['milliseconds']:.1f}", loss, chosen)
