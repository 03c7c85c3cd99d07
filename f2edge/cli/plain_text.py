"""Write an answer as lines for people: the text, or one line for each object."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.result import Result


def answer_lines(result: Result) -> list[str]:
    """Return the text, or ``label<TAB>coordinates<TAB>confidence`` for each object; ``;`` separates polygons."""
    answer = result.answer[result.task]
    if isinstance(answer, str):
        return [answer]
    boxes = [_coordinates(shape) for shape in (*result.boxes, *result.quads)]
    polygons = [";".join(map(_coordinates, thing)) for thing in result.polygons]
    things = zip(result.labels, [*boxes, *polygons], result.confidences, strict=True)
    return [f"{' '.join(label.split())}\t{where}\t{confidence:#.3g}" for label, where, confidence in things]


def remark(result: Result) -> str:
    """Return a remark on the answer for stderr, or ""."""
    if result.truncated:
        return f"cut off after {len(result.token_ids) - 1} tokens; --max-new-tokens allows more"
    if not isinstance(result.answer[result.task], str) and not result.labels:
        return "nothing found"
    return ""


def _coordinates(flat: Sequence[float]) -> str:
    return ",".join(f"{value:.1f}" for value in flat)
