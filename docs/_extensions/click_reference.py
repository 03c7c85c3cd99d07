"""The directive ``click-reference``: every subcommand of a click group, in the words of its own ``--help``."""

from __future__ import annotations

import re
from importlib import import_module
from inspect import cleandoc
from typing import TYPE_CHECKING

import click
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.application import Sphinx


class ClickReference(SphinxDirective):
    """Turn ``package.module:group program`` into a section for each subcommand, in the order of ``program --help``."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Write the sections as Markdown and let the page's own parser read them, so that headings get anchors."""
        place, program = self.arguments
        module, _, name = place.partition(":")
        group = getattr(import_module(module), name)
        self.env.note_reread()  # what a command says may stand in any module
        return self.parse_text_to_nodes("\n".join(reference(group, program)), allow_section_headings=True)


def reference(group: click.Group, program: str) -> Iterator[str]:
    """Yield lines of Markdown about every subcommand of a group."""
    root = click.Context(group, info_name=program, **group.context_settings)
    for name in group.list_commands(root):
        command = group.get_command(root, name)
        if command is not None and not command.hidden:
            yield from _section(click.Context(command, parent=root, info_name=name, **command.context_settings))


def _section(ctx: click.Context) -> Iterator[str]:
    """Yield the heading, what the command does, its usage, its options, and what its help ends with."""
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    yield from (f"### {ctx.command_path}", "", *_paragraphs(ctx.command.help), "```text", usage, "```", "")
    for param in ctx.command.params:
        names, meaning = param.get_help_record(ctx) or ("", "")
        if meaning:
            yield from (f"`{names}`", f": {_escaped(meaning)}", "")
    yield from _paragraphs(ctx.command.epilog)


def _paragraphs(text: str | None) -> Iterator[str]:
    r"""Yield the paragraphs of a help text; one that begins with ``\b`` keeps its lines, as it does in a terminal."""
    for paragraph in re.split(r"\n\s*\n", cleandoc(text or "")):
        if paragraph.startswith("\b"):
            yield from ("```text", paragraph.removeprefix("\b").strip("\n"), "```", "")
        elif paragraph:
            yield from (_escaped(paragraph), "")


def _escaped(text: str) -> str:
    """Return Markdown that reads as the text does in a terminal, with the names of options in it as code."""
    return re.sub(r"(?<!\S)--[a-z][a-z-]+", r"`\g<0>`", re.sub(r"([\\`*_<\[])", r"\\\1", text))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("click-reference", ClickReference)
    return {"parallel_read_safe": True}
