"""A simulated GPU: the CUDA runtime over host memory, and TensorRT's engines over ONNX Runtime.

It replaces only the functions of ``cuda.bindings.runtime`` and the objects of TensorRT's module, so that all of
f2edge's own work with a GPU runs without one: addresses, sizes, the order of copies and launches, ownership of memory.
It is stricter than a GPU: no work is done before the stream is synchronized, an address that was not allocated or was
freed is an error, and so is an access beyond an allocation.  It cannot show that real engines compute the right values;
tests marked ``gpu`` do that.
"""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from cuda.bindings import runtime as real

from f2edge.runtimes.tensorrt import cache as engine_cache
from f2edge.runtimes.tensorrt import cuda
from f2edge.runtimes.tensorrt import runtime as tensorrt
from f2edge.runtimes.tensorrt.build import Built

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

_ALIGNMENT = 256
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int64)": np.int64}
_SUCCESS = real.cudaError_t.cudaSuccess
_OUT_OF_MEMORY = real.cudaError_t.cudaErrorMemoryAllocation


class Cudart:
    """The functions of ``cuda.bindings.runtime`` that f2edge calls, over host memory and one queue of work.

    Args:
        capacity: the GPU's memory in bytes.

    Attributes:
        copied: bytes copied to the GPU (True) and to the host (False).
    """

    cudaError_t = real.cudaError_t
    cudaMemcpyKind = real.cudaMemcpyKind
    cudaStreamNonBlocking = real.cudaStreamNonBlocking
    cudaGetErrorName = staticmethod(real.cudaGetErrorName)
    cudaGetErrorString = staticmethod(real.cudaGetErrorString)

    def __init__(self, capacity: int = 2**30) -> None:
        self.capacity = capacity
        self.device: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.queue: list[Callable[[], None]] = []
        self.copied = {True: 0, False: 0}

    @property
    def used(self) -> int:
        """Bytes allocated on the GPU."""
        return sum(len(memory) - _ALIGNMENT for memory in list(self.device.values()))  # other threads allocate

    def cudaGetDeviceCount(self) -> tuple[Any, int]:
        return _SUCCESS, 2

    def cudaGetDeviceProperties(self, index: int) -> tuple[Any, Any]:
        name = f"Simulated GPU {index}".encode()
        return _SUCCESS, SimpleNamespace(name=name, major=8, minor=7, totalGlobalMem=self.capacity)

    def cudaSetDevice(self, _index: int) -> tuple[Any]:
        return (_SUCCESS,)

    def cudaStreamCreateWithFlags(self, _flags: int) -> tuple[Any, int]:
        return _SUCCESS, 7

    def cudaStreamDestroy(self, _stream: int) -> tuple[Any]:
        return (_SUCCESS,)

    def cudaStreamSynchronize(self, _stream: int) -> tuple[Any]:
        while self.queue:
            self.queue.pop(0)()
        return (_SUCCESS,)

    def cudaMalloc(self, size: int) -> tuple[Any, int]:
        if self.used + size > self.capacity:
            return _OUT_OF_MEMORY, 0
        return _SUCCESS, _allocate(self.device, size)

    def cudaFree(self, address: int) -> tuple[Any]:
        _poison(self.device.pop(address))
        return (_SUCCESS,)

    def cudaMallocHost(self, size: int) -> tuple[Any, int]:
        return _SUCCESS, _allocate(self.pinned, size)

    def cudaFreeHost(self, address: int) -> tuple[Any]:
        _poison(self.pinned.pop(address))
        return (_SUCCESS,)

    def cudaMemcpyAsync(self, destination: int, source: int, size: int, kind: Any, stream: int) -> tuple[Any]:
        assert stream == 7
        inward = kind == real.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.check(destination if inward else source, size)
        self.copied[inward] += size
        self.queue.append(lambda: self._copy(destination, source, size, inward=inward))
        return (_SUCCESS,)

    def _copy(self, destination: int, source: int, size: int, *, inward: bool) -> None:
        self.check(destination if inward else source, size)
        ctypes.memmove(destination, source, size)

    def check(self, address: int, size: int) -> None:
        """Check that an allocation on the GPU begins at an address and has at least ``size`` bytes."""
        assert address in self.device, "no allocation begins at this address"
        assert size <= len(self.device[address]) - _ALIGNMENT, "beyond the end of the allocation"


def _allocate(memories: dict[int, Any], size: int) -> int:
    assert size > 0
    memory = (ctypes.c_char * (size + _ALIGNMENT))()
    start = ctypes.addressof(memory)
    address = start + -start % _ALIGNMENT
    memories[address] = memory
    ctypes.memset(address, 0xFF, size)  # not a number in every float type
    return address


def _poison(memory: Any) -> None:
    ctypes.memset(ctypes.addressof(memory), 0xFF, len(memory))


class Library:
    """The part of TensorRT's module that the runtime uses; a plan is JSON with a graph's path and profile."""

    __name__ = "tensorrt"
    __version__ = "0.simulated"
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")

    class ILogger:
        """The base class of loggers."""

        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)

    def __init__(self, cudart: Cudart) -> None:
        self.cudart = cudart

    def nptype(self, dtype: Any) -> Any:
        return dtype

    def Runtime(self, log: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: self._deserialize(bytes(plan), log))

    def _deserialize(self, plan: bytes, log: Any) -> Engine | None:
        try:
            return Engine(json.loads(plan), self.cudart, log)
        except ValueError:
            log.log(self.ILogger.Severity.ERROR, "Serialization assertion\nmagic tag does not match")
            return None


class Engine:
    """An ``ICudaEngine`` over an ONNX Runtime session."""

    def __init__(self, plan: dict[str, Any], cudart: Cudart, log: Any) -> None:
        self.session = ort.InferenceSession(plan["graph"], providers=["CPUExecutionProvider"])
        self.profile = {name: [tuple(shape) for shape in shapes] for name, shapes in plan["profile"].items()}
        self.cudart, self.log = cudart, log
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.values = self.inputs | {value.name: value for value in self.session.get_outputs()}
        self.num_io_tensors = len(self.values)

    def get_tensor_name(self, index: int) -> str:
        return list(self.values)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.inputs else "out"

    def get_tensor_dtype(self, name: str) -> Any:
        return _TYPES[self.values[name].type]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in self.values[name].shape)

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        assert index == 0
        return self.profile[name]

    def create_execution_context(self) -> Context | None:
        return Context(self)


class Context:
    """An ``IExecutionContext``: shapes, addresses, and launches that run when the stream is synchronized."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.shapes = {
            name: engine.get_tensor_shape(name) for name in engine.inputs if -1 not in engine.get_tensor_shape(name)
        }
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        built = self.engine.get_tensor_shape(name)
        smallest, _, largest = self.engine.profile.get(name, [built] * 3)
        if len(shape) != len(built) or not all(a <= b <= c for a, b, c in zip(smallest, shape, largest, strict=True)):
            self.engine.log.log(1, f"setInputShape: {name} {shape} is outside of the profile")
            return False
        self.shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.engine.inputs:
            return self.shapes[name]
        known: dict[str, int] = {}
        for each, value in self.engine.inputs.items():
            known |= {d: size for d, size in zip(value.shape, self.shapes[each], strict=True) if isinstance(d, str)}
        return tuple(eval(str(size), {}, known) for size in self.engine.values[name].shape)  # noqa: S307 - "past + 1"

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address % _ALIGNMENT == 0
        self.addresses[name] = address
        return address != 0

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 7
        assert self.addresses.keys() == self.engine.values.keys()
        assert len(set(self.addresses.values())) == len(self.addresses), "two tensors at one address"
        self._check(self.shapes | {name: self.get_tensor_shape(name) for name in self.addresses})
        addresses, shapes = dict(self.addresses), dict(self.shapes)
        self.engine.cudart.queue.append(lambda: self._run(addresses, shapes))
        return True

    def _check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        for name, address in self.addresses.items():
            size = int(np.prod(shapes[name])) * np.dtype(self.engine.get_tensor_dtype(name)).itemsize
            self.engine.cudart.check(address, size)

    def _run(self, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> None:
        feeds = {name: self._view(name, addresses[name], shapes[name]) for name in self.engine.inputs}
        names = [value.name for value in self.engine.session.get_outputs()]
        for name, array in zip(names, self.engine.session.run(names, feeds), strict=True):
            self._view(name, addresses[name], array.shape)[...] = array

    def _view(self, name: str, address: int, shape: tuple[int, ...]) -> Any:
        dtype = np.dtype(self.engine.get_tensor_dtype(name))
        size = int(np.prod(shape)) * dtype.itemsize
        self.engine.cudart.check(address, size)
        return np.ndarray(shape, dtype, memoryview((ctypes.c_char * max(size, 1)).from_address(address)))


def simulate(patch: pytest.MonkeyPatch, capacity: int = 2**30) -> Cudart:
    """Replace GPU, driver and TensorRT by the simulation, and return the simulated GPU."""
    cudart = Cudart(capacity)
    library = Library(cudart)
    patch.setattr(cuda, "cudart", cudart)
    patch.setattr(tensorrt, "load_library", lambda _target: library)
    patch.setattr(engine_cache, "build_engine", _build)
    return cudart


def _build(_trt: Any, graph: Path, profile: Any, _options: Any, progress: Any) -> Built:
    progress(0.5)
    return Built(json.dumps({"graph": str(Path(graph).resolve()), "profile": profile}).encode(), b"timings")
