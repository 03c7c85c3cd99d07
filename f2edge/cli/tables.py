"""What several subcommands show of a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from f2edge.cli.output import human_size, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from f2edge.bundle import Bundle


def component_size(bundle: Bundle, name: str) -> int:
    """Bytes of a component's graph, without the weights, which the graphs share."""
    return bundle.file(name).stat().st_size


def total_size(bundle: Bundle) -> str:
    """Size of the whole bundle, for people."""
    return human_size(bundle.size_bytes)


def print_components(bundle: Bundle) -> None:
    """Precision, size and files of every component."""
    rows = [
        (name, component.precision, human_size(component_size(bundle, name)), component.file)
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
