"""The pictures of an open video, decoded one by one."""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import av.error
import numpy as np

from f2edge.errors import VideoError
from f2edge.video.container import check_size, reason
from f2edge.video.frame import Frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame

    from f2edge.arrays import ByteArray
    from f2edge.video.container import Video

_WITH_A_DURATION = ("matroska", "mov", "mp4", "webm")
"""Formats whose header tells the duration; for others FFmpeg guesses it."""

_CUT_SECONDS = 1.0
_CUT_SHARE = 0.05
"""A file whose data end this long before its duration, and by this share of it, has been cut off."""

_ONE = 1 << 16
"""1.0 in the numbers of a display matrix."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture, still in the colours of the video; see :class:`Frame` for the other fields."""

    index: int
    seconds: float
    dropped: int
    picture: VideoFrame


class _Reading:
    """How far a video is read.

    Args:
        video: the video.
    """

    def __init__(self, video: Video) -> None:
        self.video = video
        self.count = 0
        self.lost = 0
        self._first: float | None = None
        self._last = 0.0
        self._reached = 0.0

    def note(self, packet: Packet[Stream]) -> None:
        """Note to which time the file has been read, whatever the packet holds."""
        if packet.pts is not None and packet.time_base is not None:
            self._reached = max(self._reached, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def picture(self, frame: VideoFrame) -> Picture:
        """Number the next frame, and tell its time."""
        index, lost, self.lost = self.count, self.lost, 0
        self.count += 1
        return Picture(index, self._seconds(frame, index), lost, frame)

    def _seconds(self, frame: VideoFrame, index: int) -> float:
        """Return the time since the first frame; a frame without a time has that of the rate of the video."""
        base, rate = self.video.stream.time_base, self.video.stream.average_rate
        if frame.pts is not None and base:  # PyAV does not tell the pictures that a decoder held back their clock
            time = float(frame.pts * base)
        else:
            time = index / float(rate) if rate else self._last
        self._first = time if self._first is None else self._first
        self._last = time
        return time - self._first

    def lose(self) -> None:
        """Count a frame that damaged data have cost."""
        self.count += 1
        self.lost += 1

    def broken(self, why: str) -> VideoError:
        """Return the error for a video that gives no more frames, though it should."""
        if not self.count - self.lost:
            return VideoError(f"{self.video.name} gives no frame: {why}")
        at = self._last - (self._first or 0)
        return VideoError(f"{self.video.name} breaks off after frame {self.count - self.lost - 1} ({at:.1f} s): {why}")

    def check_end(self) -> None:
        """Refuse an end that comes too early.

        Raises:
            VideoError: no frame came since the last damage, or at all; or the file has been cut off.
        """
        if self.lost or not self.count:
            raise self.broken("what follows is damaged")
        container = self.video.container
        if self.video.live or container.duration is None or container.format.name.split(",")[0] not in _WITH_A_DURATION:
            return
        duration, start = container.duration / 1e6, (container.start_time or 0) / 1e6
        missing = duration - (self._reached - start)
        if missing > max(_CUT_SECONDS, _CUT_SHARE * duration):
            raise self.broken(f"it has been cut off, {missing:.1f} of {duration:.1f} s are missing")


def decoded(video: Video) -> Iterator[Picture]:
    """Yield the pictures of a video.

    Damaged packets are left out, as players do, and counted as dropped.

    Raises:
        VideoError: the video breaks off; after the pictures before that.
    """
    reading = _Reading(video)
    try:
        for packet in video.container.demux():
            reading.note(packet)
            if packet.stream is video.stream:
                yield from map(reading.picture, _frames(packet, reading))
    except (av.error.FFmpegError, OSError) as error:
        yield from map(reading.picture, _held(video))
        raise reading.broken(reason(error, video.timeout)) from error
    reading.check_end()


def _frames(packet: Packet[Any], reading: _Reading) -> list[VideoFrame]:
    try:
        return packet.decode()
    except av.error.FFmpegError:
        reading.lose()
        return []


def _held(video: Video) -> list[VideoFrame]:
    """Return the pictures that the decoder holds back until it has seen what follows."""
    with suppress(av.error.FFmpegError):
        return video.stream.codec_context.decode(None)
    return []


def as_frame(picture: Picture, name: str) -> Frame:
    """Convert a picture to RGB, upright.

    Raises:
        VideoError: it is too large, or turned by an angle that is no multiple of 90 degrees.
    """
    frame = picture.picture
    check_size(frame.width, frame.height, name)
    matrix = cast("bytes | None", frame.side_data.get("DISPLAYMATRIX"))
    array = cast("ByteArray", frame.to_ndarray(format="rgb24"))
    upright = array if matrix is None else _turned(array, bytes(matrix), name)
    return Frame(np.ascontiguousarray(upright), picture.index, picture.seconds, picture.dropped)


def _turned(array: ByteArray, matrix: bytes, name: str) -> ByteArray:
    """Turn and mirror pixels (H, W, 3) by a display matrix, in which a phone says how it was held.

    A pixel at (x, y) is shown at (a x + c y, b x + d y), except for a shift.
    """
    a, b, _, c, d = (round(value / _ONE) for value in struct.unpack("=9i", matrix)[:5])
    if sorted((abs(a), abs(b))) != [0, 1] or (abs(c), abs(d)) != (abs(b), abs(a)):
        raise VideoError(f"{name} has frames that are turned by no multiple of 90 degrees: turn it upright")
    if b:
        array = array.swapaxes(0, 1)
    right, down = (c, b) if b else (a, d)
    return array[::down, ::right]
