"""Import TensorRT: the module ``tensorrt``, which JetPack brings, or ``tensorrt_rtx`` for RTX cards."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from f2edge.errors import MissingExtraError

if TYPE_CHECKING:
    from f2edge.runtimes.tensorrt.vendor import Library, Log

RTX = "tensorrt_rtx"
FULL = "tensorrt"
_JETPACK = "on a Jetson it comes with JetPack: make the environment with --system-site-packages"


def load_library(target: str) -> Library:
    """Import the module for a bundle's target.

    Engines for ``rtx`` need ``tensorrt_rtx``.  For other targets either module will do, ``tensorrt`` before the other.

    Raises:
        MissingExtraError: the module is not installed.
    """
    for name in (RTX,) if target == "rtx" else (FULL, RTX):
        try:
            return importlib.import_module(name)
        except ImportError:  # raised as well if the libraries behind the module are missing
            continue
    if target == "rtx":
        raise MissingExtraError("tensorrt-rtx-cu13", "rtx")
    raise MissingExtraError("tensorrt", "tensorrt", _JETPACK)


def library_name(trt: Library) -> str:
    """Return the library's name and version, for messages and for the keys of caches."""
    return f"{'TensorRT-RTX' if trt.__name__ == RTX else 'TensorRT'} {trt.__version__}"


def make_log(trt: Library) -> Log:
    """Make a logger for TensorRT that keeps error messages in ``errors`` and prints nothing."""

    class ErrorLog(trt.ILogger):  # type: ignore[misc, name-defined] # the base class is that of the loaded library
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Keep an error; TensorRT calls this from any thread."""
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    return ErrorLog()


def last_error(log: Log) -> str:
    """Return the first message of TensorRT's last failure, which names its reason, and clear the log."""
    reason = log.errors[0] if log.errors else "TensorRT gives no reason"
    log.errors.clear()
    return reason
