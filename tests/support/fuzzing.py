"""Damage for JSON values and files, and a guard around what reads them: no other error, no hang, bounded memory."""

from __future__ import annotations

import copy
import faulthandler
import json
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

from f2edge.lines import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DrawFn, SearchStrategy

    from f2edge.errors import F2EdgeError

TIMES = int(os.environ.get("F2EDGE_FUZZ", "1"))
"""Multiplies the examples of every test; with more than one, they differ at every run."""

_PHASES = [Phase.explicit, Phase.generate, Phase.shrink]  # to explain a failure, hypothesis traces every line
_HANG_SECONDS = 300  # no example takes a hundredth of it, on a busy machine either
_MOST_BYTES = 500 * 10**6
_DEEP, _AGAIN = "~deep:{}~", "~again~"
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def examples(count: int) -> settings:
    """Return the settings of a fuzzing test that has ``count`` examples in CI, the same at every run."""
    return settings(max_examples=count * TIMES, deadline=None, derandomize=TIMES == 1, database=None, phases=_PHASES)


@contextmanager
def contained() -> Iterator[None]:
    """Hold one example to its bounds: a hang ends the process with a traceback, too much memory fails the test.

    On other systems than Linux the memory is not checked.
    """
    before = _restart_peak()
    faulthandler.dump_traceback_later(_HANG_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
    grown = _memory("VmHWM") - before
    assert grown < _MOST_BYTES, f"memory grew by {grown / 1e6:.0f} MB"


def _restart_peak() -> int:
    """Make the kernel forget the largest memory of this process so far; return what it has now, in bytes."""
    if sys.platform == "linux":
        _RESET.write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    if sys.platform != "linux":
        return 0
    (line,) = re.findall(rf"^{name}:\s*(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    return int(line) * 1024


def check_line(error: F2EdgeError) -> None:
    """Check that the message of an error is one printable line of a sensible length."""
    message = str(error)
    assert message.strip()
    assert one_line(message) == message, message


STRANGE = ("x" * 300, "y" * 5000, "\ud800", "a\nb", "\x00", "\x1b[2J", "..", "/", "9" * 5000)
"""Texts that are no names of files, or that no line may hold as they are."""

ODD: SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 70),
    st.sampled_from([2**31, -(2**63), 2**64, 10**400, 1e308, -0.0, 1e-320]),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", " ", *STRANGE]),
    st.sampled_from([[], {}, [[]], [None], {"": 0}, {"a\n": {}}, [0] * 2000]),
    st.sampled_from([100, 400, 700, 850, 900, 950, 100_000]).map(_DEEP.format),
    st.lists(st.integers(-1, 9) | st.floats() | st.text(max_size=3), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=3),
)
"""Any JSON value, and such as have been trouble: huge, not finite, long, not printable, of the wrong type, deep."""


@st.composite
def damaged_json(draw: DrawFn, value: Any) -> bytes:
    """Return JSON with up to three values replaced, removed, repeated or added anywhere, and sometimes other bytes."""
    changed = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        changed = _edited(draw, changed)
    content = to_text(changed).encode()
    return draw(damaged_bytes(content)) if draw(st.integers(0, 7)) == 0 else content


def to_text(value: Any) -> str:
    """Return JSON, in which keys may be there twice and values nested deeper than Python goes."""
    text = json.dumps(value).replace(f'{_AGAIN}":', '":')
    return re.sub('"~deep:([0-9]+)~"', lambda match: "[" * int(match[1]) + "]" * int(match[1]), text)


def _edited(draw: DrawFn, value: Any) -> Any:
    *above, key = draw(st.sampled_from([*places(value)] or [(None,)]))
    if key is None:
        return _odd(draw)
    inner = value
    for step in above:
        inner = inner[step]
    how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if how == "remove":
        del inner[key]
    elif how == "replace":
        inner[key] = _odd(draw)
    elif isinstance(inner, dict):
        inner[draw(st.sampled_from([key + _AGAIN, "unknown", "", *STRANGE]))] = _odd(draw, inner[key])
    else:
        inner.insert(key, _odd(draw, inner[key]))
    return value


def _odd(draw: DrawFn, *others: Any) -> Any:
    """Return a copy of an odd value or one of the others, since hypothesis hands out the same object again."""
    return copy.deepcopy(draw(st.one_of(ODD, *map(st.just, others))))


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path to each value inside a JSON value; of a long list, to the first and the last three."""
    if isinstance(value, dict):
        items = [*value.items()]
    else:
        items = [*enumerate(value)] if isinstance(value, list) else []
        items = items if len(items) < 7 else items[:3] + items[-3:]
    for key, inner in items:
        yield (key,)
        yield from ((key, *path) for path in places(inner))


@st.composite
def damaged_bytes(draw: DrawFn, content: bytes, head: int | None = None) -> bytes:
    """Return a file with up to four damages: bytes changed, a part cut out, repeated or overwritten, the end lost.

    Args:
        draw: of hypothesis.
        content: the file.
        head: its first bytes, where half of the damages are; None for the whole file.
    """
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        reach = min(len(data), head or len(data)) if draw(st.booleans()) else len(data)
        start = draw(st.integers(0, max(reach - 1, 0)))
        end = start + draw(st.sampled_from([1, 1, 2, 4, 8, 64]))
        _damage(draw, data, start, end)
    return bytes(data)


def _damage(draw: DrawFn, data: bytearray, start: int, end: int) -> None:
    how = draw(st.sampled_from(["flip", "value", "value", "random", "cut", "repeat", "end"]))
    length = len(data[start:end])
    if how == "flip" and length:
        data[start] ^= 1 << draw(st.integers(0, 7))
    elif how == "value":
        data[start:end] = draw(st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x01", b" "])) * length
    elif how == "random":
        data[start:end] = draw(st.binary(min_size=length, max_size=length))
    elif how == "cut":
        del data[start:end]
    elif how == "repeat":
        data[start:start] = data[start:end] * draw(st.sampled_from([1, 3, 100]))
    elif how == "end":
        del data[start:]
