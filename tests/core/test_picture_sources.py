"""Sources of pictures, and faults of their files that do not concern the pixels."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from f2edge.errors import ImageError
from f2edge.image import from_bgr, load_image


def noise(mode: str = "RGB") -> Image.Image:
    """Return a picture of noise, 40 pixels wide and 30 high."""
    levels = np.random.default_rng(0).integers(0, 256, (30, 40, len(mode)), np.uint8)
    return Image.fromarray(levels)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a picture file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


METADATA = {
    "a long text": chunk(b"zTXt", b"key\0\0" + zlib.compress(b"a" * 2_000_000)),
    "a long international text": chunk(b"iTXt", b"key\0\1\0\0\0" + zlib.compress(b"a" * 2_000_000)),
    "much text": chunk(b"tEXt", b"key\0" + b"a" * 900_000) * 80,
    "a long colour profile": chunk(b"iCCP", b"key\0\0" + zlib.compress(b"a" * 2_000_000)),
    "a wrong checksum": chunk(b"tIME", b"1234567")[:-1] + b"?",
    "a wrong checksum of the EXIF data": chunk(b"eXIf", b"II*\0")[:-1] + b"?",
    "a chunk that is too short": chunk(b"pHYs", b"1"),
}


@pytest.mark.parametrize("metadata", METADATA)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_metadata_of_a_png_do_not_hide_its_pixels(mode: str, metadata: str, tmp_path: Path) -> None:
    """Texts and profiles that Pillow refuses, and damaged chunks, are left out, before the pixels and after them."""
    content = encoded(noise(mode), "PNG")
    expected = np.asarray(load_image(content))
    for place in (33, len(content) - 12):  # after the header, and before the end
        spoilt = content[:place] + METADATA[metadata] + content[place:]
        np.testing.assert_array_equal(np.asarray(load_image(spoilt)), expected)
    (tmp_path / "a.png").write_bytes(spoilt)
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("seed", [2, 543, 1485, 2001, 2498])
def test_damaged_exif_data_do_not_hide_the_pixels(seed: int) -> None:
    """A JPEG whose EXIF data make Pillow fail is answered, rotated if the orientation can be read."""
    orientation = Image.Exif()
    orientation[0x0112], orientation[0x010E] = 6, "x" * 50
    exif, rng = bytearray(orientation.tobytes()), random.Random(seed)  # noqa: S311 - damage, not secrets
    for _ in range(rng.randrange(1, 8)):
        exif[rng.randrange(6, len(exif))] = rng.randrange(256)
    content = encoded(noise(), "JPEG", exif=bytes(exif))
    with pytest.raises((struct.error, TypeError)):
        ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    actual = np.asarray(load_image(content))
    assert any(np.array_equal(actual, np.rot90(expected, turns)) for turns in (0, 3))


def test_a_colour_key_of_an_rgb_picture_does_not_count(tmp_path: Path) -> None:
    """An RGB picture is taken as it is, as in transformers, whatever transparency its info names."""
    Image.new("RGB", (2, 1)).save(tmp_path / "key.png", transparency=(0, 0, 0))
    palette = Image.new("P", (2, 1))
    palette.info["transparency"] = 0
    for source in (tmp_path / "key.png", Image.open(tmp_path / "key.png"), palette.convert("RGB")):
        assert load_image(source).getpixel((0, 0)) == (0, 0, 0)


class Pipe:
    """A source of bytes that can be read once and has no other method.

    Args:
        content: what it gives.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes of those that are left."""
        first, self.content = self.content[:size], self.content[size:]
        return first


def test_bytes_and_files_of_every_kind(tmp_path: Path) -> None:
    """Bytes-like objects, open files at any position, pipes and path-like objects are read as pictures."""
    content = encoded(noise(), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    at_its_end = io.BytesIO()
    noise().save(at_its_end, "PNG")
    path: Any = PurePath(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as file:
        for source in (bytearray(content), memoryview(content), at_its_end, file, Pipe(content), path):
            np.testing.assert_array_equal(np.asarray(load_image(source)), np.asarray(noise()))
        assert not file.closed


def test_open_files_that_are_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file open as text, a closed one, one that is too long and one without a picture are refused in one line."""
    (tmp_path / "a.txt").write_text("hello")
    with (tmp_path / "a.txt").open() as text:
        wrong: Any = text
        with pytest.raises(ImageError, match="gives str, not bytes: open it in binary mode"):
            load_image(wrong)
    with pytest.raises(ImageError, match="the picture in the open file"):
        load_image(wrong)
    with (tmp_path / "a.txt").open("rb") as file, pytest.raises(ImageError, match="is not a picture in a format"):
        load_image(file)
    monkeypatch.setattr("f2edge.image.MAX_STREAM_BYTES", 3)
    with pytest.raises(ImageError, match=r"has more than 0 MiB: scale it down"):
        load_image(io.BytesIO(b"1234"))


def test_a_frame_of_opencv() -> None:
    """``from_bgr`` swaps red and blue, and keeps transparency; other shapes are refused."""
    frame = np.array([[[1, 2, 3, 4]]], np.uint8)
    assert from_bgr(frame[..., :3]).tolist() == [[[3, 2, 1]]]
    assert from_bgr(frame).tolist() == [[[3, 2, 1, 4]]]
    wrong: Any
    for wrong in (frame[0], frame[..., :2], "frame.png"):
        with pytest.raises(ImageError, match=r"a frame has the shape \(H, W, 3\) or \(H, W, 4\), not"):
            from_bgr(wrong)
