"""TensorRT under either of its names: ``tensorrt``, which JetPack brings, and ``tensorrt_rtx`` for RTX cards."""

from __future__ import annotations

import importlib
from typing import Any

from f2edge.errors import MissingExtraError

RTX = "tensorrt_rtx"
FULL = "tensorrt"
_JETPACK = "on a Jetson it comes with JetPack: make the environment with --system-site-packages"


def load_library(target: str) -> Any:
    """The module for a bundle's target: engines for ``rtx`` need ``tensorrt_rtx``, graphs take what is installed.

    Raises:
        MissingExtraError: it is not installed.
    """
    for name in (RTX,) if target == "rtx" else (FULL, RTX):
        try:
            return importlib.import_module(name)
        except ImportError:  # also where the libraries behind the module are missing
            continue
    if target == "rtx":
        raise MissingExtraError("tensorrt-rtx-cu13", "rtx")
    raise MissingExtraError("tensorrt", "tensorrt", _JETPACK)


def library_name(trt: Any) -> str:
    """The library and its version, for people and for the key of a cache."""
    return f"{'TensorRT-RTX' if trt.__name__ == RTX else 'TensorRT'} {trt.__version__}"


def make_log(trt: Any) -> Any:
    """A logger for TensorRT that keeps what went wrong in ``errors`` and prints nothing."""

    class Log(trt.ILogger):  # type: ignore[misc] # the base class is the vendor's, whichever is loaded
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT, from any thread."""
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    return Log()


def last_error(log: Any) -> str:
    """The reason that TensorRT gave first for its last failure, which is then forgotten."""
    reason = log.errors[0] if log.errors else "TensorRT gives no reason"
    log.errors.clear()
    return str(reason)
