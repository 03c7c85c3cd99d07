"""An open video: FFmpeg, by way of PyAV, reads one file or one address, and nothing else that these may name."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

import av
import av.error
from av.stream import Disposition

from f2edge.errors import VideoError
from f2edge.image import MAX_PIXELS
from f2edge.video.sources import NO_PROTOCOL, Stream

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack
    from typing import BinaryIO

    from av.container import InputContainer
    from av.video.stream import VideoStream

    from f2edge.video.sources import VideoFile

_NO_VIDEOS = ("tty",)
"""Formats in which FFmpeg shows any text as a film of letters."""

_HINTS = {
    errno.EBUSY: "it is busy: close the program that uses it",
    errno.EACCES: "it may not be opened: ask for the permission, for a camera of Linux by the group video",
    errno.EPERM: "it may not be opened: ask for the permission",
    errno.ENODEV: "there is no such camera, or it was unplugged",
    errno.ENOTTY: "it is no camera",
    errno.ECONNREFUSED: "the connection is refused: nothing listens there",
}


class Video(NamedTuple):
    """An open video.

    Args:
        container: what PyAV opened.
        stream: the one of its streams that is read.
        name: what messages call it.
        live: whether it goes on by itself, so that it does not wait for its reader.
        timeout: seconds to wait for data.
    """

    container: InputContainer
    stream: VideoStream
    name: str
    live: bool
    timeout: float


def open_file(file: VideoFile, closing: ExitStack) -> Video:
    """Open a video file.

    Args:
        file: the file.
        closing: gets what closes it.

    Raises:
        VideoError: it is no video, or is damaged, or cannot be opened.
    """
    name = str(file.path)
    try:
        handle = closing.enter_context(file.path.open("rb"))
    except OSError as error:
        raise VideoError(f"{name} cannot be opened: {error.strerror}") from error
    if not file.path.stat().st_size:
        raise VideoError(f"{name} is empty: fetch it again")
    # As the file is open already, a playlist cannot make FFmpeg open others, nor a name that looks like an address.
    container = _open(handle, name, None, {"protocol_whitelist": NO_PROTOCOL}, None)
    return _video(container, name, None, live=False, closing=closing)


def open_stream(stream: Stream, timeout: float, options: Mapping[str, str], closing: ExitStack) -> Video:
    """Open a camera or an address.

    Args:
        stream: what to open.
        timeout: seconds to wait for the connection and for each packet.
        options: options of FFmpeg, before those of the stream.
        closing: gets what closes it.

    Raises:
        VideoError: it cannot be opened, is busy or has no video; or nothing came in time.
    """
    container = _open(stream.address, stream.name, stream.format, {**stream.options, **options}, timeout)
    return _video(container, stream.name, timeout, live=stream.live, closing=closing)


def reason(error: Exception, timeout: float | None) -> str:
    """Say why FFmpeg failed, and what to do."""
    if isinstance(error, av.error.ExitError):
        return f"nothing came for {timeout:g} s: see whether it sends, or raise `timeout`"
    number = getattr(error, "errno", None)
    unusable = number == errno.EINVAL  # what FFmpeg says of a protocol that is barred, among others
    if unusable and timeout is not None:
        return "it leads to another protocol, which is not followed, or it does not take one of its `options`"
    if unusable or isinstance(error, av.error.InvalidDataError):
        return "FFmpeg reads no video there, or it is damaged: convert it to MP4"
    known = _HINTS.get(number) if isinstance(number, int) else None
    return known or str(getattr(error, "strerror", None) or error or type(error).__name__)


def _open(
    file: str | BinaryIO, name: str, form: str | None, options: dict[str, str], timeout: float | None
) -> InputContainer:
    try:
        return av.open(file, "r", format=form, options=options, timeout=timeout, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name} cannot be opened: {reason(error, timeout)}") from error


def _video(
    container: InputContainer, name: str, timeout: float | None, *, live: bool | None, closing: ExitStack
) -> Video:
    closing.callback(container.close)
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if container.format.name in _NO_VIDEOS or not streams:
        raise VideoError(f"{name} has no video: give a file, an address or a camera that has one")
    if streams[0].codec_context is None:
        raise VideoError(f"{name} has a video in a format that FFmpeg does not decode: convert it to MP4")
    check_size(streams[0].width, streams[0].height, name)
    return Video(container, streams[0], name, container.duration is None if live is None else live, timeout or 0)


def check_size(width: int, height: int, name: str) -> None:
    """Refuse frames of more pixels than a picture may have.

    Raises:
        VideoError: they have.
    """
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 10**6
        raise VideoError(f"{name} has frames of {width}x{height} pixels, more than {limit} million: scale it down")
