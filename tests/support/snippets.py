"""Blocks of code in the pages of the documentation."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOT_RUN = "<!-- not run"
_REASON = re.compile(rf"{NOT_RUN}: (.+) -->")
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[ \t]*(\S*)[^`]*")
_OPERATOR = re.compile(r"[|&;<>()]+")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Args:
        place: the page and the line of the fence above the block, ``README.md:12``.
        language: the word after the fence; empty without one.
        code: the lines between the fences, after as many empty ones as there are lines above it in the page.
        not_run: REASON of the comment ``<!-- not run: REASON -->`` in the last line above the block; empty without one.
    """

    place: str
    language: str
    code: str
    not_run: str


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page from top to bottom."""
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    above = ""
    for number, line in lines:
        if fence := _FENCE.fullmatch(line):
            mark, language = fence.groups()
            code = [""] * number
            for _, inner in lines:
                if inner.strip().startswith(mark):
                    break
                code.append(inner)
            reason = _REASON.fullmatch(above)
            yield Block(f"{page.name}:{number}", language, "\n".join(code), reason[1] if reason else "")
        above = line.strip() or above


def commands(block: Block) -> Iterator[list[str]]:
    """Yield the words of each command of a shell block; continued lines are joined, and comments left out.

    Raises:
        ValueError: a command of f2edge is piped, redirected or chained.
    """
    for line in block.code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        if words[:1] == ["f2edge"] and any(map(_OPERATOR.fullmatch, words)):
            raise ValueError(f"{block.place}: {line.strip()}: one command a line, and without redirection")
        if words:
            yield words
