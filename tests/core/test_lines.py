"""What messages show is one printable line of a bounded length, whatever texts and values are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from f2edge.errors import BundleError
from f2edge.lines import LONGEST, one_line, shown


class Mute:
    """An object that cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError


def test_texts() -> None:
    """Letters of any script stay, also wide spaces; line breaks become spaces, other control characters escapes."""
    assert one_line("Straße 北京 写真\u30001.jpg") == "Straße 北京 写真\u30001.jpg"
    assert one_line("a\r\nb\tc\u2028d") == "a  b c d"
    assert one_line("\x1b[2J \ud800 \x00 \u202e") == r"\x1b[2J \ud800 \x00 \u202e"


def test_long_texts() -> None:
    """Beginning and end stay: they say where, and what to do."""
    line = one_line("where" + "x" * 10_000 + "what to do")
    assert len(line) == LONGEST
    assert line.startswith("where")
    assert line.endswith("what to do")


@given(st.text(st.characters()))
def test_any_text(text: str) -> None:
    """A line is a line, and stays as it is; so is the message of any error."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert one_line(line) == line == str(BundleError(text))
    line.encode()


def test_values() -> None:
    """The beginning of a repr, or the type where there is none: a number of over 4,300 digits, a faulty class."""
    assert shown("a\n") == r"'a\n'"
    assert shown([0] * 100) == "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
    assert shown(10**5000) == "a value of type int"
    assert shown(Mute()) == "a value of type Mute"
