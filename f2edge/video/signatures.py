"""Tell a video file by its first bytes, so that one that is given as a picture is called what it is."""

from __future__ import annotations

HEAD = 512
"""Bytes that are enough to tell."""

_BEGINNINGS = (
    b"\x1a\x45\xdf\xa3",  # Matroska and WebM
    b"FLV\x01",
    b"\x00\x00\x01\xba",  # MPEG program streams
    b"\x00\x00\x01\xb3",  # MPEG video
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF and WMV
)
_STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"crx ", b"jp2 ", b"jpx ")
"""What pictures that share the container of MP4 call themselves."""

_PACKET = 188
"""Bytes of a packet of an MPEG transport stream, each of which begins with a G."""


def is_video(head: bytes) -> bool:
    """Tell whether a file that begins with these bytes is a video."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return head[8:12] not in _STILL_BRANDS
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    return head.startswith(_BEGINNINGS) or (len(head) > 2 * _PACKET and head[: 2 * _PACKET + 1 : _PACKET] == b"GGG")
