"""Small videos for tests, encoded by PyAV."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.arrays import ByteArray

FRAMES_PER_SECOND = 10


def grey(level: int, size: tuple[int, int] = (64, 48)) -> ByteArray:
    """Return a grey picture of `size` (width, height)."""
    return np.full((size[1], size[0], 3), level, np.uint8)


def levels(count: int) -> list[ByteArray]:
    """Return grey pictures, each ten levels lighter than the one before it."""
    return [grey(20 + 10 * number) for number in range(count)]


def save_video(path: Path, pictures: Sequence[ByteArray], codec: str = "mpeg4", **options: Any) -> Path:
    """Encode pictures at ten frames a second, and return the path."""
    with av.open(str(path), "w", **options) as container:
        stream: Any = container.add_stream(codec, rate=FRAMES_PER_SECOND)
        stream.pix_fmt = "yuv420p"
        stream.height, stream.width = pictures[0].shape[:2]
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a, b, c and d of the display matrix into an MP4 file, as a phone does that is held another way."""
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    """Cut off the end of a file, so that this share of it is left."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def damage(path: Path, begin: float, length: int) -> None:
    """Overwrite bytes of a file with noise, from this share of it on."""
    content = bytearray(path.read_bytes())
    place = int(len(content) * begin)
    content[place : place + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(content)
