"""Ask one question about every frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from f2edge.decoding.stopping import NEVER
from f2edge.errors import InputError
from f2edge.image import ImageSource, fit, load_image
from f2edge.lines import shown
from f2edge.numbers import is_number
from f2edge.video.frame import Frame
from f2edge.video.frames import frames
from f2edge.video.still import largest_difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.arrays import ByteArray
    from f2edge.asking.questions import Question
    from f2edge.bundle.manifest import Bundle
    from f2edge.decoding.stopping import StopSignal
    from f2edge.result import Result
    from f2edge.video.sources import VideoSource

_STACK = 4
"""Axes of an array of several pictures."""

FrameSource: TypeAlias = "VideoSource | Iterable[ImageSource]"


class Model(Protocol):
    """What frames need of a model; :class:`f2edge.Florence2` is one."""

    bundle: Bundle

    def answer(self, image: ImageSource, question: Question, signal: StopSignal) -> Result:
        """Answer one question about one picture."""
        ...


@dataclass(frozen=True)
class Answered:
    """A frame and what the model says about it.

    Args:
        frame: the frame; a picture of a source that gives others is one without a time.
        result: the answer.
        reused: whether the frame counts as unchanged, so that ``result`` is that of an earlier frame, times included.
    """

    frame: Frame
    result: Result
    reused: bool = False


def answer_frames(model: Model, source: FrameSource, question: Question, unchanged: float | None) -> Iterator[Answered]:
    """Ask one question about every frame; see :meth:`f2edge.Florence2.run_frames`.

    Raises:
        InputError: ``unchanged`` is no positive number, or there is no such source; at the call.
    """
    if unchanged is not None and not (is_number(unchanged) and unchanged > 0):
        raise InputError(f"`unchanged` is {shown(unchanged)}; give a positive number of levels, such as 8")
    return _answers(model, _pictures(source), question, unchanged)


def _pictures(source: FrameSource) -> Iterable[ImageSource]:
    """Open a source that is named; pictures are taken as they come.

    Raises:
        InputError: there is no such source, or it is a single picture, whose rows would pass for pictures.
    """
    if isinstance(source, (str, PathLike)) or not isinstance(source, Iterable):
        return frames(source)
    if isinstance(source, (bytes, bytearray)) or getattr(source, "ndim", _STACK) < _STACK:
        raise InputError("one picture is no source of frames: ask about it with model.run")
    return source


def _answers(
    model: Model, pictures: Iterable[ImageSource], question: Question, unchanged: float | None
) -> Iterator[Answered]:
    asked: tuple[ByteArray, tuple[int, int]] | None = None
    result: Result | None = None
    for index, picture in enumerate(pictures):
        frame = picture if isinstance(picture, Frame) else Frame(np.array(load_image(picture)), index, None)
        if unchanged is not None:
            seen = _seen(model, frame)
            if asked and result and asked[1] == seen[1] and largest_difference(asked[0], seen[0]) <= unchanged:
                yield Answered(frame, result, reused=True)
                continue
            asked = seen
        result = model.answer(frame, question, NEVER)
        yield Answered(frame, result)


def _seen(model: Model, frame: Frame) -> tuple[ByteArray, tuple[int, int]]:
    """Return the pixels (H, W, 3) as the model takes them, and the size of the picture, to which an answer belongs."""
    image, geometry = load_image(frame), model.bundle.geometry
    return fit(image, geometry.image_size, geometry.image_processing), image.size
