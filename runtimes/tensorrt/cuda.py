"""Memory, copies and a stream of one NVIDIA GPU, through ``cuda-python``."""

from __future__ import annotations

import ctypes
import weakref
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.errors import DeviceError, MissingExtraError
from f2edge.runtimes.device import Device

try:
    from cuda.bindings import runtime as cudart
except ImportError as error:
    raise MissingExtraError("cuda-python", "tensorrt", "on JetPack 6 add 'cuda-python<13'") from error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PREFIX = "CUDA"
_NO_DRIVER = ("cudaErrorInsufficientDriver", "cudaErrorNoDevice", "cudaErrorInitializationError")
_OUT_OF_MEMORY = "cudaErrorMemoryAllocation"


def list_gpus() -> list[Device]:
    """List the GPUs of this machine as "CUDA", "CUDA.1", ...; none if the driver is missing."""
    error, count = cudart.cudaGetDeviceCount()
    if error != cudart.cudaError_t.cudaSuccess:
        return []
    names = [_PREFIX if index == 0 else f"{_PREFIX}.{index}" for index in range(count)]
    return [Device("tensorrt", name, _properties(index).name.decode()) for index, name in enumerate(names)]


class Gpu:
    """One GPU and a stream on it.

    Args:
        name: "CUDA" for the first GPU, "CUDA.1" for the second.

    Raises:
        DeviceError: there is no such GPU, or no driver.
    """

    def __init__(self, name: str) -> None:
        names = [device.device for device in list_gpus()]
        if name not in names:
            _call(cudart.cudaGetDeviceCount())
            raise DeviceError(f"TensorRT has no device {name} here; it has: {', '.join(names) or 'none'}")
        self._index = names.index(name)
        self._lock = Lock()
        self.activate()
        properties = _properties(self._index)
        self.full_name: str = properties.name.decode()
        self.compute_capability = (properties.major, properties.minor)
        self.total_memory: int = properties.totalGlobalMem
        self.stream = int(_call(cudart.cudaStreamCreateWithFlags(cudart.cudaStreamNonBlocking)))
        weakref.finalize(self, cudart.cudaStreamDestroy, self.stream)

    def activate(self) -> None:
        """Make this the GPU of the calling thread; each thread has a GPU of its own."""
        _call(cudart.cudaSetDevice(self._index))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other thread uses the stream, the engines and the mirrors, and make this the thread's GPU."""
        with self._lock:
            self.activate()
            yield

    def synchronize(self) -> None:
        """Wait until the work on the stream is done.

        Raises:
            DeviceError: some of the work failed.
        """
        _call(cudart.cudaStreamSynchronize(self.stream))

    def to_device(self, memory: DeviceMemory, source: int, size: int) -> None:
        """Begin to copy ``size`` bytes from a host address to the GPU."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        _call(cudart.cudaMemcpyAsync(memory.address, source, size, kind, self.stream))

    def to_host(self, destination: int, memory: DeviceMemory, size: int) -> None:
        """Begin to copy ``size`` bytes from the GPU to a host address."""
        kind = cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        _call(cudart.cudaMemcpyAsync(destination, memory.address, size, kind, self.stream))

    def fetch(self, memory: DeviceMemory, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Copy a tensor to a new array, and wait until it is there."""
        array = np.empty(shape, dtype)
        self.to_host(array.ctypes.data, memory, array.nbytes)
        self.synchronize()
        return array


class DeviceMemory:
    """Memory on the current GPU, freed when nothing refers to it any more.

    Args:
        size: bytes.  At least one is allocated: TensorRT needs an address, different from all others, for a tensor
            without elements too.

    Raises:
        DeviceError: the GPU is out of memory.
    """

    def __init__(self, size: int) -> None:
        self.size = max(size, 1)
        self.address = int(_call(cudart.cudaMalloc(self.size)))
        weakref.finalize(self, cudart.cudaFree, self.address)


class Mirror:
    """A tensor in pinned host memory and on the GPU, for values that are copied at every step.

    Args:
        gpu: the GPU whose stream does the copies.
        size: bytes that the tensor takes at most.

    Raises:
        DeviceError: the GPU is out of memory.
    """

    def __init__(self, gpu: Gpu, size: int) -> None:
        self._gpu = gpu
        self.memory = DeviceMemory(size)
        self._host = int(_call(cudart.cudaMallocHost(self.memory.size)))
        weakref.finalize(self, cudart.cudaFreeHost, self._host)

    def upload(self, array: NDArray[Any]) -> None:
        """Begin to copy an array to the GPU."""
        self._view(array.shape, array.dtype)[...] = array
        self._gpu.to_device(self.memory, self._host, array.nbytes)

    def begin_download(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Begin to copy from the GPU, and return a view that holds the values from the end of the copy to the next."""
        view = self._view(shape, dtype)
        self._gpu.to_host(self._host, self.memory, view.nbytes)
        return view

    def _view(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        pinned = memoryview((ctypes.c_char * self.memory.size).from_address(self._host))
        view: NDArray[Any] = np.ndarray(shape, dtype, pinned)
        return view


def _properties(index: int) -> cudart.cudaDeviceProp:
    return _call(cudart.cudaGetDeviceProperties(index))


def _call(result: tuple[Any, ...]) -> Any:
    """Return what a function of the CUDA runtime returned beside its status.

    Raises:
        DeviceError: the status is an error.
    """
    error, *values = result
    if error == cudart.cudaError_t.cudaSuccess:
        return values[0] if values else None
    name, text = (function(error)[1].decode() for function in (cudart.cudaGetErrorName, cudart.cudaGetErrorString))
    if name in _NO_DRIVER:
        raise DeviceError(f"there is no NVIDIA GPU with a driver here ({name}: {text}); install or update the driver")
    if name == _OUT_OF_MEMORY:
        raise DeviceError("the GPU is out of memory; use fewer beams, a smaller image size, or close other programs")
    raise DeviceError(f"the GPU failed ({name}: {text})")
