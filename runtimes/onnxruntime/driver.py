"""The GPUs that NVIDIA's driver shows.  It is asked itself: ONNX Runtime does not list them."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

_LIBRARIES = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
"""The driver's library, by platform."""
_PREFIX = "CUDA"
_LONGEST_NAME = 256
_MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    Args:
        name: the maker's name for it.
        driver: the version of CUDA that the driver has.
        memory_mib: its memory in MiB.
    """

    name: str
    driver: str
    memory_mib: int


def list_gpus() -> dict[str, Gpu]:
    """List the GPUs of this machine as "CUDA", "CUDA.1", ..., as CUDA numbers them; none if the driver is missing."""
    driver = _open()
    if driver is None:
        return {}
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    return {_PREFIX if n == 0 else f"{_PREFIX}.{n}": _describe(driver, n) for n in range(count.value)}


def _open() -> ctypes.CDLL | None:
    """Load and start the driver; None if it is not there or sees no GPU."""
    try:
        driver = ctypes.CDLL(_LIBRARIES[sys.platform])
    except (KeyError, OSError):
        return None
    return None if driver.cuInit(0) else driver


def _describe(driver: ctypes.CDLL, number: int) -> Gpu:
    device, version, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_LONGEST_NAME)
    driver.cuDeviceGet(ctypes.byref(device), number)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    driver.cuDriverGetVersion(ctypes.byref(version))
    major, minor = divmod(version.value, 1000)
    return Gpu(name.value.decode(errors="replace"), f"CUDA {major}.{minor // 10}", memory.value // _MIB)
