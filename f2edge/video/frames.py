"""Frames of a video file, a camera, a stream or a folder of pictures."""

from __future__ import annotations

import weakref
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from f2edge.errors import InputError, MissingExtraError, VideoError
from f2edge.lines import shown
from f2edge.numbers import is_number
from f2edge.video.folder import FolderFrames
from f2edge.video.newest import Newest
from f2edge.video.sources import Folder, VideoFile, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from f2edge.video.container import Video
    from f2edge.video.decoding import Picture
    from f2edge.video.frame import Frame
    from f2edge.video.sources import Stream, VideoSource

DEFAULT_TIMEOUT = 10.0
_TICK = 1e-6
"""Seconds by which times of a video, rounded to its clock, may miss a whole multiple of ``every``."""


def frames(
    source: VideoSource,
    *,
    every: float | None = None,
    live: bool | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    options: Mapping[str, str] | None = None,
) -> Frames:
    """Open a video file, a camera, a stream or a folder of pictures, and read its frames.

    A file and a folder give every frame.  A live source gives its newest one: a thread reads it all the time, and
    ``Frame.dropped`` counts the older ones that came meanwhile.

    Example:
        >>> with f2edge.frames("rtsp://192.168.0.20/stream") as frames:
        ...     for frame in frames:
        ...         print(frame.seconds, model.run(frame, "caption").plain_text)

    Args:
        source: the path of a video file or of a folder of pictures; an address of ``rtsp://``, ``rtsps://``,
            ``http://`` or ``https://``; or a camera of Linux, by its number or as ``/dev/video0``.
        every: of each so many seconds of the video the first frame comes, and the others are left out; by default
            none is.
        live: whether only the newest frame counts.  By default it does for cameras, RTSP, and addresses that tell no
            duration.
        timeout: seconds to wait for a connection, and for more data of a camera or stream.
        options: options of FFmpeg for a camera or stream, such as ``{"video_size": "1280x720"}`` or
            ``{"rtsp_transport": "udp"}``.

    Raises:
        VideoError: there is no such source, it cannot be opened, or it has no video.
        InputError: an argument is of the wrong kind or out of its range.
        MissingExtraError: PyAV is not installed; a folder needs none.
    """
    _check(every, timeout)
    place = resolve(source)
    closing = ExitStack()
    with ExitStack() as failed:
        failed.push(closing)
        if isinstance(place, Folder):
            _refuse_for_folders(place, every, live)
            opened = Frames(FolderFrames(place.path), closing, live=False)
        else:
            opened = _read(_open(place, live, timeout, options or {}, closing), every, closing)
        failed.pop_all()
    return opened


class Frames:
    """An iterator over the frames of a source; :func:`f2edge.frames` opens one.

    It closes its source after the last frame and after an error, at the end of a ``with`` block, and once nothing
    refers to it any more, as after a ``break`` out of ``for frame in f2edge.frames(...)``.

    Attributes:
        live: whether only the newest frame counts.
    """

    def __init__(self, frames: Iterator[Frame], closing: ExitStack, *, live: bool) -> None:
        self.live = live
        self._frames = frames
        self._close = weakref.finalize(self, closing.close)  # at the end of the program, too

    def __iter__(self) -> Frames:
        return self

    def __next__(self) -> Frame:
        if not self._close.alive:
            raise StopIteration
        try:
            return next(self._frames)
        except (StopIteration, VideoError):
            self.close()
            raise

    def close(self) -> None:
        """Close the source, and end the thread that reads it; then there are no more frames.

        It waits for the data that are being read: for one frame as a rule, ``timeout`` at most.  Closing again does
        nothing.
        """
        self._close()

    def __enter__(self) -> Frames:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(video: Video, every: float | None, closing: ExitStack) -> Frames:
    """Read an open video: thin it out, keep the newest picture if it is live, and convert what is left."""
    from f2edge.video.decoding import as_frame, decoded  # noqa: PLC0415 - it imports PyAV, which is optional

    pictures = decoded(video) if every is None else thinned(decoded(video), every)
    if video.live:
        newest = Newest(pictures)
        closing.callback(newest.close)
        pictures = newest
    return Frames((as_frame(picture, video.name) for picture in pictures), closing, live=video.live)


def thinned(pictures: Iterator[Picture], every: float) -> Iterator[Picture]:
    """Keep the first picture of each ``every`` seconds.

    The steps are those of the clock, so that no delay adds up.  A time that jumps back, as when a stream begins anew,
    is another step.
    """
    last: float | None = None
    lost = 0
    for picture in pictures:
        step = (picture.seconds + _TICK) // every
        if last is not None and step == last:
            lost += picture.dropped
            continue
        last = step
        yield replace(picture, dropped=picture.dropped + lost)
        lost = 0


def _open(
    place: VideoFile | Stream, live: bool | None, timeout: float, options: Mapping[str, str], closing: ExitStack
) -> Video:
    try:
        from f2edge.video.container import open_file, open_stream  # noqa: PLC0415 - it imports PyAV, which is optional
    except ImportError as error:
        raise MissingExtraError("av", "video") from error
    if isinstance(place, VideoFile):
        if live or options:
            raise InputError(f"{place.path} is a file, which takes no `{'live' if live else 'options'}`")
        return open_file(place, closing)
    video = open_stream(place, timeout, options, closing)
    return video if live is None else video._replace(live=live)


def _refuse_for_folders(folder: Folder, every: float | None, live: bool | None) -> None:
    if every is not None or live:
        name = "live" if live else "every"
        raise InputError(f"{folder.path} is a folder of pictures, which have no times: leave `{name}` out")


def _check(every: float | None, timeout: float) -> None:
    for name, value in (("every", every), ("timeout", timeout)):
        if value is not None and not (is_number(value) and value > 0):
            raise InputError(f"`{name}` is {shown(value)}; give a positive number of seconds")
