"""Pictures, annotation files, and a model that answers from a table, for tests of the metrics."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from f2edge.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from f2edge.image import ImageSource

SIZE = (64, 48)


def write_picture(path: Path) -> None:
    """A grey picture of 64x48 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)).save(path)


def write_json(path: Path, value: object) -> Path:
    """JSON, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def write_jsonl(path: Path, lines: list[Any]) -> Path:
    """A line of JSON for each value."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def answer(task: str, text: str = "", **fields: Any) -> Result:
    """An answer with what a test cares about."""
    things = max(len(fields.get(kind, ())) for kind in ("boxes", "quads", "polygons"))
    filled = {"token_ids": (2, 0, 2), "labels": ("",) * things, "confidences": (0.5,) * things} | fields
    return Result(task=task, text=text, token_logprobs=(), score=0.0, answer={task: text}, **filled)


@dataclass
class TableModel:
    """Answers each task from a table; ``read`` are the pictures that it was given."""

    table: Mapping[str, Result | Exception]
    bad: Mapping[str, Exception] = field(default_factory=dict)
    size: tuple[int, int] = SIZE
    read: list[str] = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def encode(self, image: ImageSource) -> TableModel:
        """Take a picture in, or fail as the table says."""
        self.read.append(str(image))
        if str(image) in self.bad:
            raise self.bad[str(image)]
        return self

    def run(
        self,
        task: str,
        text: str | None = None,
        *,
        region: tuple[float, float, float, float] | None = None,
        num_beams: int | None = None,
    ) -> Result:
        """Look the answer up."""
        self.asked.append((task, text, region, num_beams))
        entry = self.table[task]
        if isinstance(entry, Exception):
            raise entry
        return entry
