"""Texts and values as messages show them: on one line, of a bounded length, whatever they hold."""

from __future__ import annotations

import unicodedata
from typing import Any

LONGEST = 2000
"""Characters of the longest message."""

_KEPT = 60
"""Characters of a value that a message shows."""


def one_line(text: str) -> str:
    """Return a text as one line: line breaks become spaces, control characters escapes; a long middle is cut out."""
    line = text if text.isprintable() else "".join(map(_printable, text))
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[: half - 5]} ... {line[-half:]}"


def shown(value: Any) -> str:
    """Return the beginning of the ``repr`` of a value, also of one whose ``repr`` fails."""
    try:
        return repr(value)[:_KEPT]
    except Exception:  # noqa: BLE001 - a whole number of over 4,300 digits, a value nested too deep, a faulty class
        return f"a value of type {type(value).__name__:.{_KEPT}}"


def _printable(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return " " if character.isspace() else character.encode("unicode_escape").decode()
