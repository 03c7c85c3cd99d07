"""All errors that f2edge raises on purpose.

::

    F2EdgeError
    ├── CheckpointError       a checkpoint that cannot be read, or is not Florence-2
    ├── CompileError          a graph that cannot be exported, checked or compiled
    ├── BundleError           a bundle that is damaged, foreign or of another version
    ├── InputError            input of one question that cannot be used
    │   ├── ImageError        not a picture, or one too large to open safely
    │   ├── VideoError        a source of frames that cannot be opened, or that breaks off
    │   ├── TaskError         unknown task, missing or superfluous text, region out of the image
    │   └── LimitError        more prompt, tokens or beams than the model or the bundle can take
    ├── DatasetError          a data set that cannot be read, or that has nothing to measure
    │   └── NoDatasetError    a place that holds no data set at all
    ├── AnnotationError       a directory of annotations that cannot be begun, continued or read
    ├── StoppedError          an answer that was stopped before its end (f2edge.asking.stopped, which has its kinds)
    ├── DeviceError           an engine or a device that failed, or is not there
    └── MissingExtraError     a package that an optional part needs is not installed

There is one warning, DeviceWarning: a device computes something wrong, and the caller has asked to go on.

The message is one printable line that says what is wrong, where, and what to do; names and values of a damaged file
cannot break it.  It puts the names of arguments into backticks.
The command line replaces these by the names of its options, prints the line and exits with 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from f2edge.lines import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


class F2EdgeError(Exception):
    """Base class of all errors that f2edge raises on purpose."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class CheckpointError(F2EdgeError):
    """A checkpoint that cannot be read, or is not Florence-2."""


class CompileError(F2EdgeError):
    """A graph that cannot be exported, checked or compiled."""


class BundleError(F2EdgeError):
    """A bundle that is damaged, foreign or of another version."""


class InputError(F2EdgeError):
    """Input of one question that cannot be used."""


class ImageError(InputError):
    """Not a picture, or one too large to open safely."""


class VideoError(InputError):
    """A video, camera, stream or folder that gives no frames, or that breaks off after some."""


class TaskError(InputError):
    """Unknown task, missing or superfluous text, or a region out of the image."""


class LimitError(InputError):
    """More prompt, tokens or beams than the model or the bundle can take."""


class DatasetError(F2EdgeError):
    """A data set that cannot be read, or that has nothing to measure."""


class NoDatasetError(DatasetError):
    """A place that holds no data set of a known format.

    Args:
        message: the line for the user.
        left_out: lines that name the files of the place that are no data set.
    """

    def __init__(self, message: str, left_out: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.left_out = tuple(left_out)


class AnnotationError(F2EdgeError):
    """A directory of annotations that cannot be begun, continued or read."""


class DeviceError(F2EdgeError):
    """An engine or a device that failed, or is not there."""


class DeviceWarning(UserWarning):
    """A device computes something wrong, and the caller has asked to go on."""


class MissingExtraError(F2EdgeError):
    """A package that an optional part needs is not installed.

    Args:
        package: the distribution that is missing.
        extra: the extra of f2edge that brings it.
        hint: another thing that may help.
    """

    def __init__(self, package: str, extra: str, hint: str = "") -> None:
        self.package, self.extra, self.hint = package, extra, hint
        super().__init__(f"{package} is not installed; run: pip install 'f2edge[{extra}]'" + (hint and f"; {hint}"))

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        """Let the error be raised in another process than the one that it happened in."""
        return MissingExtraError, (self.package, self.extra, self.hint)
