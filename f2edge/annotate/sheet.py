"""A contact sheet: one HTML page that shows a sample of pictures with what was kept and what was dropped, and why.

The page holds everything it needs and asks nothing of any server; it has no script.
"""

from __future__ import annotations

import base64
import random
from collections import Counter
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from f2edge.annotate.charts import BASE, HEIGHT, WIDTH, charts
from f2edge.annotate.records import REASONS
from f2edge.drawing.display import Thumbnail
from f2edge.errors import ImageError
from f2edge.image import load_image
from f2edge.reporting.whole_page import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from f2edge.annotate.directory import Directory
    from f2edge.annotate.pictures import Picture
    from f2edge.annotate.records import Record, Shape
    from f2edge.annotate.sources import Pictures
    from f2edge.annotate.statistics import Statistics

_SEED = 0


class _Outline(NamedTuple):
    """One shape of a record: its corners for SVG, and where its number stands."""

    kept: bool
    points: str
    x: float
    y: float
    number: int


class _Figure(NamedTuple):
    """The records of one answer."""

    title: str
    records: Sequence[Record]
    shapes: Sequence[_Outline]


def render(run: Directory, pictures: Pictures, count: int, statistics: Statistics) -> str:
    """Return the page.

    Args:
        run: a finished run.
        pictures: its pictures.
        count: how many pictures are shown at most; the same ones each time.
        statistics: what the run has made, for the charts.

    Raises:
        AnnotationError: a shard is damaged.
    """
    cards = [_card(picture, records) for picture, records in _sample(run, pictures, count)]
    dropped = Counter(one.reason for card in cards for one in card["records"] if not one.kept)
    description = run.description
    page = _environment().get_template("sheet.html")
    return page.render(
        title=f"Annotations of {run.place.name}",
        cards=cards,
        charts=charts(statistics),
        chart_box={"width": WIDTH, "height": HEIGHT, "base": BASE},
        pictures=len(pictures.pictures),
        passed=description.passed,
        bundle=f"{description.bundle['name']} ({description.bundle['sha256'][:8]})",
        reasons=dropped.most_common(),
        meanings=REASONS,
    )


def _sample(run: Directory, pictures: Pictures, count: int) -> list[tuple[Picture, list[Record]]]:
    """Return pictures drawn at random, in their order, with their records; only their shards are read."""
    total, size = len(pictures.pictures), int(run.description.settings["shard"])
    chosen = sorted(random.Random(_SEED).sample(range(total), min(count, total)))  # noqa: S311 - nothing to guess here
    found = []
    for shard, numbers in groupby(chosen, key=lambda number: number // size):
        by_image: dict[str, list[Record]] = {}
        for record in run.read(shard):
            by_image.setdefault(record.image, []).append(record)
        found += [(pictures.pictures[number], by_image[pictures.pictures[number].id]) for number in numbers]
    return found


def _card(picture: Picture, records: list[Record]) -> dict[str, Any]:
    own = next(one for one in records if one.kind == "picture")
    data, lost = _data_uri(picture) if own.kept else ("", own.detail)
    answers: dict[tuple[str, str], list[Record]] = {}
    for one in records:
        if one.kind in ("region", "phrase"):
            answers.setdefault((one.task, one.source), []).append(one)
    return {
        "image": own.image,
        "width": own.width,
        "height": own.height,
        "lost": lost,
        "data": Markup(data),  # noqa: S704 - base64
        "texts": [one for one in records if one.kind == "text"],
        "figures": [_figure(f"{task} of {source}" if source else task, of) for (task, source), of in answers.items()],
        "records": records,
    }


def _data_uri(picture: Picture) -> tuple[str, str]:
    """Return a small copy of a picture for the page, or why there is none."""
    try:
        copy = Thumbnail.of(load_image(picture.open()))
    except ImageError as error:
        return "", str(error)
    return f"data:image/jpeg;base64,{base64.b64encode(copy.jpeg).decode('ascii')}", ""


def _figure(title: str, records: Sequence[Record]) -> _Figure:
    shapes = [_outline(one, shape, number) for number, one in enumerate(records, 1) for shape in _shapes(one)]
    return _Figure(title, records, sorted(shapes, key=lambda shape: shape.kept))  # what is kept is drawn on top


def _shapes(record: Record) -> Sequence[Shape]:
    if record.polygons:
        return record.polygons
    if record.quad:
        return [record.quad]
    if record.box is None:
        return []
    x1, y1, x2, y2 = record.box
    return [(x1, y1, x2, y1, x2, y2, x1, y2)]


def _outline(record: Record, shape: Shape, number: int) -> _Outline:
    corners = zip(shape[::2], shape[1::2], strict=True)
    x, y = record.box[:2] if record.box else (0.0, 0.0)
    return _Outline(record.kept, " ".join(f"{one:.1f},{other:.1f}" for one, other in corners), x + 3, y + 13, number)


@cache
def _environment() -> Environment:
    return environment("f2edge.annotate", ["sheet.css"])
