"""Take out of a PNG what its pixels do not need, so that damaged or oversized metadata do not hide a sound picture."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_OPTIONAL = {b"tRNS", b"eXIf"}
"""Chunks that transparency and rotation need; they are kept if their checksum is right."""


def is_png(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes is a PNG."""
    return head.startswith(_SIGNATURE)


def pixels_only(content: bytes) -> bytes | None:
    """Return a PNG without texts, colour profiles and other chunks that its pixels do not need.

    Args:
        content: the bytes of a picture file.

    Returns:
        The smaller file; None if ``content`` is not a PNG, or has nothing to take out.
    """
    if not is_png(content):
        return None
    kept = b"".join((_SIGNATURE, *_needed_chunks(content)))
    return kept if len(kept) < len(content) else None


def _needed_chunks(content: bytes) -> Iterator[bytes]:
    """Yield the chunks that pixels need, each with its length, type and checksum, as they are in the file."""
    start = len(_SIGNATURE)
    while start + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        chunk = content[start : start + length + 12]
        if kind in _CRITICAL or (kind in _OPTIONAL and _is_sound(chunk)):
            yield chunk
        start += length + 12


def _is_sound(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
