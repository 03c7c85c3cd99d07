"""Records of annotations, and runs of them on disk, for tests of the room ``annotate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from f2edge.annotate.description import Description
from f2edge.annotate.records import Record
from f2edge.annotate.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (120, 90)


def region(label: str, box: tuple[float, ...], confidence: float = 0.9, **fields: Any) -> Record:
    """Return a region of task "od", unless ``fields`` say otherwise."""
    known = {"task": "od", "confidence": confidence, "score": confidence, "tokens": 2} | fields
    return Record("a.png", *SIZE, "region", label=label, box=box, **known)  # type: ignore[arg-type]


def text(words: str, task: str = "caption", **fields: Any) -> Record:
    """Return a text that was grounded, unless ``fields`` say otherwise."""
    known = {"confidence": 0.9, "objects": 0, "tokens": len(words.split())} | fields
    return Record("a.png", *SIZE, "text", task=task, text=words, **known)


def phrase(label: str, box: tuple[float, ...], of: Record, confidence: float = 0.9, **fields: Any) -> Record:
    """Return a grounded phrase of a text."""
    known = {"task": "caption_to_phrase_grounding", "source": of.task, "text": of.text, "confidence": confidence}
    return Record("a.png", *SIZE, "phrase", label=label, box=box, **(known | fields))  # type: ignore[arg-type]


def write_photos(folder: Path, count: int) -> None:
    """Write smooth noise as ``00.png``, ``01.png``, ..., the same at every call."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        noise = np.random.default_rng(index).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).resize(SIZE).save(folder / f"{index:02d}.png")


def description(
    pictures: int = 4, settings: Settings | None = None, bundle: str = "b" * 64, **fields: Any
) -> Description:
    """Return the description of a run."""
    sources = {"count": pictures, "sha256": "s" * 64}
    values = (settings or Settings(shard=2)).to_json()
    return Description({"name": "tiny", "sha256": bundle}, values, sources, **fields)


def tables(output: Path) -> list[object]:
    """Return the tables of a run's shards."""
    return [pq.read_table(path) for path in sorted((output / "shards").glob("*.parquet"))]


_STOP = """
import os, signal, time
import f2edge.annotate.files as module
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in its background
real, calls = os.fsync, []
def fsync(descriptor):
    calls.append(descriptor)
    if len(calls) == {call}:
        print("reached", flush=True)
        time.sleep({seconds})
    real(descriptor)
module.os.fsync = fsync
"""


def stop_at(call: int, seconds: float = 600) -> str:
    """Return code that stops a run for a while at one of its calls that make a file durable.

    There are two for each file, before and after its rename: 1 and 2 for its description, 3 and 4 for the first shard.
    """
    return _STOP.format(call=call, seconds=seconds)
