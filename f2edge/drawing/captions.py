"""Captions: words in a few lines on a plate of the object's colour."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from PIL import Image, ImageDraw, ImageFont

from f2edge.drawing.places import nearest, place
from f2edge.drawing.strokes import ink, paint_lines, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from f2edge.drawing.places import Rectangles
    from f2edge.drawing.strokes import Colour, Place, Point, Rectangle

    Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font has no letters beyond ASCII; the last three have Chinese, Japanese and Korean.
_FONTS = ("DejaVuSans.ttf", "arial.ttf", "NotoSansCJK-Regular.ttc", "msyh.ttc", "Arial Unicode.ttf")
_MISSING = "\uffff"  # no font has this letter
_LEAST_HEIGHT = 12
_LONGEST_CUT = 200
_MOST_LINES = 3
_SHARE = 0.35  # of the picture's width, which a caption may have if its object is narrower


class Marked(Protocol):
    """An object that gets a caption."""

    @property
    def label(self) -> str:
        """Its words."""

    @property
    def percent(self) -> str:
        """Its confidence, or nothing."""

    @property
    def colour(self) -> Colour:
        """Its colour."""

    @property
    def outlines(self) -> Sequence[Sequence[Point]]:
        """Its outlines, closed."""


class Caption(NamedTuple):
    """A caption in its place."""

    lines: tuple[str, ...]
    colour: Colour
    place: Rectangle
    outlines: Sequence[Sequence[Point]]  # of its object


@dataclass
class Writer:
    """A font of the size that suits a picture, and the captions that were placed in the picture.

    Args:
        size: (width, height) of the picture.
        letters: all letters that the captions may have.
        captions: those that have a place.
    """

    size: tuple[int, int]
    letters: str
    captions: list[Caption] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose the font."""
        width, height = self.size
        self._font = _font(max(_LEAST_HEIGHT, min(round((width * height) ** 0.5 / 42), height // 4)), self.letters)
        self._pen = ImageDraw.Draw(Image.new("L", (1, 1)))
        self._row = self._pen.textbbox((0, 0), "Ag", font=self._font)[3]
        self._pad = max(2, round(self._row / 6))

    def add(self, mark: Marked, index: int, objects: Rectangles) -> None:
        """Find a place for the caption of an object; without one that covers no other caption, leave it out.

        Args:
            mark: the object; the last words of its label give way where there is no room for all.
            index: the row of the object in ``objects``.
            objects: (n, 4), the boxes around all objects that are drawn.
        """
        x1, _, x2, _ = objects[index].tolist()
        most = self.size[0] - 2 * self._pad - 1
        room = min(most, max(x2 - x1, _SHARE * self.size[0]))
        lines = fitted(mark.label, mark.percent, self._length, room) or fitted("", mark.percent, self._length, most)
        if lines:
            size = max(map(self._length, lines)) + 2 * self._pad, len(lines) * self._row + 2 * self._pad
            where = place(size, self.size, index, objects, [caption.place for caption in self.captions])
            self.captions += [Caption(lines, mark.colour, where, mark.outlines)] if where else []

    def write(self, picture: Image.Image, width: int) -> None:
        """Draw the captions, and lines of this width from those that stand apart to their objects."""
        for caption in self.captions:
            ends = nearest(caption.place, caption.outlines)
            if max(abs(a - b) for a, b in zip(*ends, strict=True)) > self._row:
                paint_lines(picture, [ends], caption.colour, width)
        for caption in self.captions:
            self._write(picture, caption)

    def _write(self, picture: Image.Image, caption: Caption) -> None:
        def plate(pen: ImageDraw.ImageDraw, at: Place, scale: int) -> None:
            x1, y1, x2, y2 = caption.place
            pen.rounded_rectangle((*at((x1, y1)), *at((x2, y2))), radius=self._pad * scale, fill=255)

        stamp(picture, caption.place, caption.colour, plate)
        pen = ImageDraw.Draw(picture)
        for row, line in enumerate(caption.lines):
            start = caption.place[0] + self._pad, caption.place[1] + self._pad + row * self._row
            pen.text(start, line, fill=ink(caption.colour), font=self._font)

    def _length(self, text: str) -> float:
        return self._pen.textlength(text, font=self._font)


def fitted(label: str, percent: str, length: Callable[[str], float], room: float) -> tuple[str, ...]:
    """Break a caption into lines that fit into the room; shorten the label where it needs too many of them.

    Returns:
        At most three lines; none if not even the percent fits.
    """
    ends = range(min(len(label) - 1, _LONGEST_CUT), 0, -1)
    texts = [f"{label} {percent}", *(f"{label[:end].rstrip()}… {percent}" for end in ends), percent]

    def fits(number: int) -> bool:
        lines = _wrapped(texts[number], length, room)
        return len(lines) <= _MOST_LINES and max(map(length, lines), default=0) <= room

    number = bisect_left(range(len(texts)), 1, key=fits)
    return tuple(_wrapped(texts[number], length, room)) if number < len(texts) else ()


def _wrapped(text: str, length: Callable[[str], float], room: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and length(f"{lines[-1]} {word}") <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _font(size: int, letters: str) -> Font:
    """Return the first font that has all letters, or else the first that is there."""
    fonts: list[Font] = []
    for name in _FONTS:
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
            if _has(fonts[-1], letters):
                return fonts[-1]
    return fonts[0] if fonts else ImageFont.load_default(size=size)


def _has(font: Font, letters: str) -> bool:
    missing = bytes(font.getmask(_MISSING))
    return all(bytes(font.getmask(letter)) != missing for letter in set(letters) if letter.isprintable())
