"""``f2edge eval``."""

from __future__ import annotations

import click

from f2edge.cli.options import PATH, POSITIVE, bundle_argument, json_option
from f2edge.errors import F2EdgeError


@click.command("eval")
@bundle_argument
@click.option("--data", required=True, metavar="DIR", type=PATH, help="The data set.")
@click.option("--limit", metavar="N", type=POSITIVE, help="Use the first N pictures only.")
@json_option
def command(**_options: object) -> None:
    """Measure a bundle on a data set: not there yet in this version."""
    raise F2EdgeError("eval is not there yet in this version; f2edge verify compares a bundle with the reference model")
