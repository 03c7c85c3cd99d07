"""NVIDIA GPUs in ONNX Runtime: which are here, what may run on them, and how a graph is loaded on one.

ONNX Runtime computes on the CPU, with no error, where the libraries of CUDA do not load.  f2edge refuses that instead.
"""

from __future__ import annotations

import ctypes
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import onnxruntime as ort

from f2edge.errors import DeviceError
from f2edge.runtimes.device import Device
from f2edge.runtimes.onnxruntime.driver import list_gpus

if TYPE_CHECKING:
    from f2edge.bundle.manifest import Bundle

_PROVIDER = "CUDAExecutionProvider"
"""The part of ONNX Runtime that runs graphs with CUDA; the package onnxruntime-gpu has it, and onnxruntime has not."""
_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""TF32 would round the factors of fp32 products to 10 bits.  By default cuDNN times its convolutions whenever a graph
is loaded and takes the fastest, which may be another one the next time, with other sums."""
_LIBRARY = "libonnxruntime_providers_cuda.so"
_INSTALL = "for NVIDIA GPUs put onnxruntime-gpu in its place: pip uninstall onnxruntime; pip install onnxruntime-gpu"
_DRIVER = "no NVIDIA GPU is visible; if there is one, install NVIDIA's driver"


def is_gpu(device: str) -> bool:
    """Tell whether a name is one of an NVIDIA GPU: "CUDA", "CUDA.1", ..."""
    return device.split(".", maxsplit=1)[0] == "CUDA"


def number(device: str) -> int:
    """Return the number of a GPU: 1 for "CUDA.1"."""
    return int(device.partition(".")[2] or 0)


def provider(device: str) -> tuple[str, dict[str, str]]:
    """Return what a session on a GPU is made with."""
    return _PROVIDER, {"device_id": str(number(device)), **_OPTIONS}


def devices() -> list[Device]:
    """List the GPUs, if this build of ONNX Runtime has CUDA."""
    if not _is_built_in():
        return []
    return [
        Device("onnxruntime", name, f"ONNX Runtime {ort.__version__}, {gpu.name}", gpu.driver, gpu.memory_mib)
        for name, gpu in list_gpus().items()
    ]


def missing() -> list[str]:
    """Say what to install, in one line, if one of two things is here: a GPU, and a build of ONNX Runtime for it."""
    if _is_built_in() == bool(list_gpus()):
        return []
    return [f"onnxruntime: {_DRIVER if _is_built_in() else f'this build has no CUDA; {_INSTALL}'}"]


def check_device(device: str, component: str, bundle: Bundle) -> None:
    """Refuse to run a component on a GPU that is not here, or that has no kernels for it.

    Raises:
        DeviceError: one of these is so.
    """
    if not _is_built_in():
        raise DeviceError(f"this build of ONNX Runtime has no device {device}; it has: CPU; {_INSTALL}")
    if device not in (present := list_gpus()):
        advice = "f2edge devices lists them" if present else _DRIVER
        raise DeviceError(
            f"the ONNX Runtime engine has no device {device}; it has: {', '.join(['CPU', *present])}; {advice}"
        )
    if bundle.components[component].precision == "int8":
        raise DeviceError(
            f"the {component} of {bundle.path} is in INT8, which ONNX Runtime runs on the CPU only;"
            f" for {device} compile with precision fp16 or fp32"
        )


def load_libraries() -> None:
    """Load the libraries of CUDA and cuDNN that are installed as Python packages; others are found by the system."""
    with redirect_stdout(io.StringIO()):  # what could not be loaded is told by check_session
        ort.preload_dlls()


def check_session(session: ort.InferenceSession, device: str) -> None:
    """Refuse a session for a GPU that ONNX Runtime has made for the CPU instead.

    Raises:
        DeviceError: it has.
    """
    if _PROVIDER not in session.get_providers():
        major = ort.cuda_version.split(".")[0]
        raise DeviceError(f"ONNX Runtime cannot use {device} here{_reason()}; install CUDA {major} and cuDNN 9 for it")


def _is_built_in() -> bool:
    return _PROVIDER in ort.get_available_providers()


def _reason() -> str:
    """Return why the library for CUDA cannot be loaded, behind a colon, if the system tells."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL(str(Path(ort.__file__).parent / "capi" / _LIBRARY))
        except OSError as error:
            return f": {error}"
    return ""
