"""Show a result: one line in a terminal, a picture and a table in a notebook."""

from __future__ import annotations

import base64
import io
import sys
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Protocol

from PIL import Image

from f2edge.draw import Located, draw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_THUMBNAIL_SIDE = 640
_QUALITY = 85
_LONGEST_TEXT = 60
_LONGEST_LABEL = 30
_MOST_LABELS = 5
_MOST_ROWS = 50
_PIXELS = "{} (pixels)"
_LEFT = ' style="text-align:left"'


class Shown(Located, Protocol):
    """The parts of a result that are shown."""

    @property
    def task(self) -> str:
        """The task's name."""

    @property
    def answer(self) -> Mapping[str, object]:
        """Text or something else by the task's name."""

    @property
    def plain_text(self) -> str:
        """The answer's text."""

    @property
    def truncated(self) -> bool:
        """Whether the answer was cut off."""

    @property
    def thumbnail(self) -> Thumbnail | None:
        """The picture that was asked about."""


@dataclass(frozen=True)
class Thumbnail:
    """A small copy of a picture: at most 640 pixels a side, tens of kilobytes.

    Args:
        jpeg: the copy as a JPEG file.
        size: (width, height) of the original in pixels.
    """

    jpeg: bytes
    size: tuple[int, int]

    @classmethod
    def of(cls, picture: Image.Image) -> Thumbnail:
        """Make the small copy of an RGB picture; one that is small already keeps its size."""
        scale = min(1.0, _THUMBNAIL_SIDE / max(picture.size))
        width, height = (max(1, round(side * scale)) for side in picture.size)
        return cls(_jpeg(picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=1.0)), picture.size)

    def open(self) -> Image.Image:
        """Decode the copy."""
        return Image.open(io.BytesIO(self.jpeg))


def in_notebook() -> bool:
    """Tell whether this process is the kernel of a notebook, which shows results as HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def summary(result: Shown) -> str:
    """Describe an answer in one short line: its text, or how many things it located and some of their labels."""
    located = result.boxes or result.quads or result.polygons
    if not located and isinstance(result.answer.get(result.task), str):
        told = repr(_clipped(result.plain_text, _LONGEST_TEXT))
    elif not located:
        told = "nothing located"
    else:
        told = _count(result) + _listed(result.labels)
    return told + ", truncated" * result.truncated


def to_html(result: Shown) -> str:
    """Write a result as HTML: the picture with the answer drawn on it, if the result has one, and a table."""
    text = result.plain_text if isinstance(result.answer.get(result.task), str) else summary(result)
    parts = [f"<p><code>{escape(result.task)}</code> {escape(text)}</p>"]
    if result.thumbnail:
        parts.append(_image(result, result.thumbnail))
    if result.boxes or result.quads or result.polygons:
        parts.append(_table(result))
    return f"<div>{''.join(parts)}</div>"


def _count(result: Shown) -> str:
    kinds = {"box": result.boxes, "quad": result.quads, "mask": result.polygons}
    plurals = {"box": "boxes", "quad": "quads", "mask": "masks"}
    counts = {kind: len(things) for kind, things in kinds.items() if things}
    return " and ".join(f"{n} {kind if n == 1 else plurals[kind]}" for kind, n in counts.items())


def _listed(labels: Sequence[str]) -> str:
    names = [name for name in dict.fromkeys(" ".join(label.split()) for label in labels) if name]
    listed = [_clipped(name, _LONGEST_LABEL) for name in names[:_MOST_LABELS]] + ["..."] * (len(names) > _MOST_LABELS)
    return f": {', '.join(listed)}" if listed else ""


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _image(result: Shown, thumbnail: Thumbnail) -> str:
    picture = thumbnail.open()
    drawn = draw(picture, _Scaled.to_size(result, thumbnail.size, picture.size))
    data = base64.b64encode(_jpeg(drawn)).decode("ascii")
    return f'<img style="max-width:100%" alt="the picture with the answer" src="data:image/jpeg;base64,{data}">'


def _table(result: Shown) -> str:
    rows = list(_rows(result))
    heads = ("label", _PIXELS.format("box" if result.boxes else "quad" if result.quads else "mask"), "confidence")
    lines = [f"<tr>{''.join(f'<th{_LEFT}>{head}</th>' for head in heads)}</tr>"]
    lines += [f"<tr>{''.join(f'<td{_LEFT}>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows[:_MOST_ROWS]]
    if (left := len(rows) - _MOST_ROWS) > 0:
        lines.append(f'<tr><td colspan="{len(heads)}"{_LEFT}>and {left} more</td></tr>')
    return f"<table>{''.join(lines)}</table>"


def _rows(result: Shown) -> Iterator[tuple[str, str, str]]:
    """The cells of each thing: its label, where it is, its confidence."""
    places = [", ".join(f"{number:.0f}" for number in shape) for shape in (*result.boxes, *result.quads)]
    places += [_mask(polygons) for polygons in result.polygons]
    for index, (label, place) in enumerate(zip(result.labels, places, strict=True)):
        yield label, place, f"{result.confidences[index]:.1%}" if result.confidences else ""


def _mask(polygons: Sequence[Sequence[float]]) -> str:
    points = sum(len(polygon) // 2 for polygon in polygons)
    return f"{len(polygons)} polygon{'s' * (len(polygons) != 1)}, {points} points"


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


@dataclass(frozen=True)
class _Scaled:
    """The objects of a result, in pixels of its thumbnail."""

    labels: Sequence[str]
    boxes: Sequence[Sequence[float]]
    quads: Sequence[Sequence[float]]
    polygons: Sequence[Sequence[Sequence[float]]]
    confidences: Sequence[float]

    @classmethod
    def to_size(cls, result: Located, original: tuple[int, int], size: tuple[int, int]) -> _Scaled:
        """Scale each coordinate from a picture of (width, height) ``original`` to one of ``size``."""
        scales = [new / old for new, old in zip(size, original, strict=True)]

        def scaled(shapes: Sequence[Sequence[float]]) -> list[list[float]]:
            return [[number * scales[i % 2] for i, number in enumerate(shape)] for shape in shapes]

        polygons = [scaled(thing) for thing in result.polygons]
        return cls(result.labels, scaled(result.boxes), scaled(result.quads), polygons, result.confidences)
