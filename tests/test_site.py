"""The reference pages of the documentation leave nothing out."""

from __future__ import annotations

import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import f2edge
from f2edge.cli import COMMANDS, cli

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).resolve().parent.parent / "docs"


@pytest.fixture(scope="module")
def click_reference() -> ModuleType:
    """Load the Sphinx extension that documents the commands."""
    spec = spec_from_file_location("click_reference", DOCS / "_extensions" / "click_reference.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options(name: str) -> list[str]:
    """Return the entry of each option, up to its names, that a subcommand's section must have."""
    command = cli.get_command(click.Context(cli), name)
    assert command
    return [f"\n`{', '.join(param.opts)}" for param in command.params if isinstance(param, click.Option)]


def test_reference_has_every_command_and_option(click_reference: ModuleType) -> None:
    """Each subcommand has a section with all of its options."""
    text = "\n".join(click_reference.reference(cli, "f2edge"))
    sections = re.split(r"^### f2edge (.+)$", text, flags=re.MULTILINE)
    assert sections[1::2] == list(COMMANDS)
    for name, section in zip(sections[1::2], sections[2::2], strict=True):
        assert f"f2edge {name} [OPTIONS]" in section
        assert [option for option in options(name) if option not in section] == []


def test_reference_reads_as_in_a_terminal(click_reference: ModuleType) -> None:
    """Markup in a help text is escaped, names of options are code, and kept lines stay lines."""
    group = click.Group("group")

    @group.command(epilog="\b\nkept  as\n  it is")
    @click.option("--some-name", metavar="N", help="<OD> *or* a_b, see --other-name.")
    def ask() -> None:
        """Ask [one] question."""

    lines = list(click_reference.reference(group, "program"))
    assert lines[:2] == ["### program ask", ""]
    assert r"Ask \[one] question." in lines
    assert "program ask [OPTIONS]" in lines
    assert lines[lines.index("`--some-name N`") + 1] == r": \<OD> \*or\* a\_b, see `--other-name`."
    assert lines[-4:] == ["```text", "kept  as\n  it is", "```", ""]


def test_api_reference_has_every_public_name() -> None:
    """Every name that ``f2edge`` exports is documented in the API reference, or mentioned with its place."""
    page = (DOCS / "api.md").read_text("utf-8")
    documented = re.findall(r"^\.\. auto\w+:: (?:f2edge\.)?(\w+)", page, re.MULTILINE)
    assert sorted({*f2edge.__all__} - {*documented}) == ["F2EdgeError"]
    assert "`f2edge.F2EdgeError`" in page
