"""One TensorRT engine: its shapes and types, and how it is put to work on addresses of the GPU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from f2edge.errors import DeviceError
from f2edge.runtimes.tensorrt.library import last_error, library_name

if TYPE_CHECKING:
    from f2edge.runtimes.tensorrt.cuda import DeviceMemory, Gpu


class Tensor(NamedTuple):
    """A tensor on the GPU."""

    memory: DeviceMemory
    shape: tuple[int, ...]


class Graph:
    """One engine, ready to run on addresses of the GPU.

    Args:
        trt: the vendor's module.
        loader: its runtime.
        log: the logger of that.
        gpu: the GPU.
        name: the component.
        plan: the serialized engine.

    Raises:
        DeviceError: the engine is damaged, of another version or for another GPU, or finds no memory.
    """

    def __init__(self, trt: Any, loader: Any, log: Any, gpu: Gpu, name: str, plan: bytes | memoryview) -> None:
        self._log, self._gpu, self._name = log, gpu, name
        self._engine = loader.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise DeviceError(
                f"{library_name(trt)} cannot load the {name} engine on {gpu.full_name}: {last_error(log)}; "
                "it is damaged, or of another version or GPU: build or compile it again"
            )
        self._context = _context(trt, self._engine, growing=name == "decoder")
        if self._context is None:
            raise DeviceError(f"the GPU has no memory to run the {name} engine: {last_error(log)}")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        modes = {each: self._engine.get_tensor_mode(each) for each in names}
        self.inputs = [each for each in names if modes[each] == trt.TensorIOMode.INPUT]
        self.outputs = [each for each in names if modes[each] == trt.TensorIOMode.OUTPUT]
        self.types = {each: np.dtype(trt.nptype(self._engine.get_tensor_dtype(each))) for each in names}

    def largest(self, name: str) -> tuple[int, ...]:
        """The largest shape of an input."""
        shape = tuple(self._engine.get_tensor_shape(name))
        return tuple(self._engine.get_tensor_profile_shape(name, 0)[2]) if -1 in shape else shape

    def set_shapes(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Fix the shapes of the inputs; gives those of the outputs.

        Raises:
            DeviceError: a shape that the engine was not built for.
        """
        self._gpu.activate()
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise self._failure(f"{name} of shape {shape}")
        return {name: tuple(self._context.get_tensor_shape(name)) for name in self.outputs}

    def size(self, name: str, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor."""
        return math.prod(shape) * int(self.types[name].itemsize)

    def begin(self, memory: dict[str, DeviceMemory]) -> None:
        """Put the engine's work on the stream.

        Args:
            memory: where each input lies and each output goes.

        Raises:
            DeviceError: TensorRT refuses.
        """
        for name, place in memory.items():
            if not self._context.set_tensor_address(name, place.address):
                raise self._failure(name)
        if not self._context.execute_async_v3(self._gpu.stream):
            raise self._failure("the launch")

    def _failure(self, what: str) -> DeviceError:
        return DeviceError(f"TensorRT failed while running the {self._name} engine at {what}: {last_error(self._log)}")


def _context(trt: Any, engine: Any, *, growing: bool) -> Any:
    """TensorRT-RTX would compile kernels in the background for each length of a past that is new at every step."""
    strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
    if not growing or strategies is None:
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    config.dynamic_shapes_kernel_specialization_strategy = strategies.NONE
    return engine.create_execution_context(config)
