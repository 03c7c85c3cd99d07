"""What a user may name as the source of frames, and what FFmpeg may do to read it."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from f2edge.errors import VideoError
from f2edge.lines import shown
from f2edge.numbers import is_whole
from f2edge.paths import exists, is_dir, is_file

VideoSource: TypeAlias = "str | PathLike[str] | int"

NO_PROTOCOL = "none"
"""No protocol has this name, so that FFmpeg opens nothing but what it is handed."""

_STREAMS = {
    "rtsp": ("tcp,udp,rtp", {"rtsp_transport": "tcp"}),
    "rtsps": ("tls,tcp,udp,rtp", {"rtsp_transport": "tcp"}),
    "http": ("http,tcp", {}),
    "https": ("https,tls,tcp", {}),
}
"""The protocols that each kind of address needs, and no others: a playlist or a redirection leads no further."""

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True)
class Folder:
    """A folder of pictures."""

    path: Path


@dataclass(frozen=True)
class VideoFile:
    """A video file."""

    path: Path


@dataclass(frozen=True)
class Stream:
    """Something that FFmpeg opens by its address.

    Args:
        address: what FFmpeg opens.
        name: what messages call it.
        live: whether it is live; None if that is seen once it is open.
        format: the format of FFmpeg, None if FFmpeg finds out.
        options: options of FFmpeg.
    """

    address: str
    name: str
    live: bool | None
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)


def resolve(source: VideoSource) -> Folder | VideoFile | Stream:
    """Tell what a source is: a folder, a file, a camera, or the address of a stream.

    Raises:
        VideoError: there is no such thing, or it can be none of these.
    """
    if is_whole(source):
        return _camera(Path(f"/dev/video{source}"))
    if not isinstance(source, (str, PathLike)):
        raise VideoError(f"{shown(source)} is no source of frames: give a path, an address or the number of a camera")
    text = str(source)
    if scheme := _ADDRESS.match(text):
        return _stream(text, scheme[1].lower())
    return _local(Path(text))


def _local(path: Path) -> Folder | VideoFile | Stream:
    if is_dir(path):
        return Folder(path)
    if is_file(path):
        return VideoFile(path)
    if exists(path) and path.is_char_device():
        return _camera(path)
    raise VideoError(f"{path} is not there: no such file, folder or camera")


def _camera(device: Path) -> Stream:
    if sys.platform != "linux":
        raise VideoError("cameras are read on Linux only: give frames of OpenCV to f2edge.from_bgr")
    if not exists(device):
        raise VideoError(f"{device} is not there: no such camera")
    return Stream(str(device), str(device), live=True, format="v4l2")


def _stream(address: str, scheme: str) -> Stream:
    if scheme not in _STREAMS:
        known = ", ".join(f"{name}://" for name in _STREAMS)
        raise VideoError(f"{_without_password(address)} is of no known kind: give a path or an address of {known}")
    protocols, options = _STREAMS[scheme]
    live = True if scheme.startswith("rtsp") else None
    options = {"protocol_whitelist": protocols, **options}
    return Stream(address, _without_password(address), live, options=options)


def _without_password(address: str) -> str:
    """Return an address as logs may show it."""
    user, at, rest = urlsplit(address).netloc.rpartition("@") if "@" in address else ("", "", "")
    return address.replace(f"{user}{at}", f"{user.partition(':')[0]}:***@", 1) if ":" in user and rest else address
