"""``f2edge serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import f2edge
from f2edge.cli.options import PATH, POSITIVE, bundle_argument, device_option, threads_option
from f2edge.cli.output import print_note, spinner
from f2edge.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

_PACKAGES = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "h11": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}
"""The distribution of each package that a server imports."""

_LAST_PORT = 65535


@click.command("serve")
@bundle_argument
@click.option("--host", metavar="H", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    metavar="P",
    type=click.IntRange(0, _LAST_PORT),
    default=8000,
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@click.option(
    "--workers",
    metavar="N",
    type=POSITIVE,
    default=1,
    show_default=True,
    help="Questions that are answered at the same time.",
)
@threads_option
@device_option
@click.option(
    "--queue",
    metavar="N",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    help="Questions that may wait for a worker; further ones are refused at once.",
)
@click.option(
    "--token-file",
    metavar="F",
    type=PATH,
    help="File with the token that clients must send; needed where other machines can reach the address.",
)
@click.option(
    "--allow-host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Further name that clients may call the server by; repeat it for several.",
)
@click.option("--json-logs", is_flag=True, help="Print one line of JSON on stderr for each request.")
def command(
    *,
    bundle: Path,
    host: str,
    port: int,
    workers: int,
    threads: int | None,
    device: str | None,
    queue: int,
    token_file: Path | None,
    hosts: tuple[str, ...],
    json_logs: bool,
) -> None:
    """Answer questions to BUNDLE over HTTP, and show a page for them."""
    running = _running()
    from f2edge.serve.settings import Settings, read_token

    token = read_token(token_file) if token_file else None
    settings = Settings(host, port, token, hosts, queue, json_logs)
    with running.bind(settings) as bound:
        with spinner(f"opening {bundle}"):
            model = f2edge.load(bundle, device, threads=threads, workers=workers)
        line = f"serving {bundle} at {running.url_of(bound)}; Ctrl+C ends it"
        with model:
            running.run(model, settings, bound, workers=workers, started=lambda: print_note(f"f2edge: {line}"))


def _running() -> ModuleType:
    """Import the server.

    Raises:
        MissingExtraError: the extra ``serve`` is not installed.
    """
    try:
        from f2edge.serve import running
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        raise MissingExtraError(_PACKAGES[package], "serve") from error
    return running
