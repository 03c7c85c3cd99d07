"""Shell completion that click cannot know: names of tasks, and paths in arguments that take any text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    import click


def complete_task(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the tasks that begin with ``incomplete``, in the spelling that no shell needs quoted: od for <OD>."""
    from f2edge.tasks.table import TASKS, short_name

    names = map(short_name, TASKS)
    return [name for name in names if name.startswith(incomplete.lower())]


def complete_path(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Have the shell complete ``incomplete`` as the path of a file or directory."""
    return [CompletionItem(incomplete, type="file")]
