"""Load one TensorRT engine, and run it on addresses of the GPU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from f2edge.errors import DeviceError
from f2edge.runtimes.tensorrt.library import last_error, library_name

if TYPE_CHECKING:
    from f2edge.runtimes.tensorrt.cuda import DeviceMemory, Gpu
    from f2edge.runtimes.tensorrt.vendor import CudaEngine, EngineLoader, ExecutionContext, Library, Log


class Tensor(NamedTuple):
    """A tensor on the GPU: its memory, which may be larger, and its shape."""

    memory: DeviceMemory
    shape: tuple[int, ...]


class LoadedEngine:
    """One component's engine on a GPU, ready to run.

    Attributes:
        inputs: names of the inputs.
        outputs: names of the outputs.
        types: data type of each input and output.

    Args:
        trt: TensorRT.
        loader: TensorRT's runtime, which loads the engine.
        log: the loader's logger.
        gpu: the GPU.
        name: the component.
        plan: the serialized engine.

    Raises:
        DeviceError: the engine is damaged, is of another version or for another GPU, or there is not enough memory.
    """

    def __init__(
        self, trt: Library, loader: EngineLoader, log: Log, gpu: Gpu, name: str, plan: bytes | memoryview
    ) -> None:
        self._log, self._gpu, self._name = log, gpu, name
        engine = loader.deserialize_cuda_engine(plan)
        if engine is None:
            raise DeviceError(
                f"{library_name(trt)} cannot load the {name} engine on {gpu.full_name}: {last_error(log)}; "
                "it is damaged, or of another version or GPU: build or compile it again"
            )
        context = _context(trt, engine, growing=name == "decoder")
        if context is None:
            raise DeviceError(f"the GPU has no memory to run the {name} engine: {last_error(log)}")
        self._engine, self._context = engine, context
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        modes = {each: engine.get_tensor_mode(each) for each in names}
        self.inputs = [each for each in names if modes[each] == trt.TensorIOMode.INPUT]
        self.outputs = [each for each in names if modes[each] == trt.TensorIOMode.OUTPUT]
        self.types = {each: np.dtype(trt.nptype(engine.get_tensor_dtype(each))) for each in names}

    def largest(self, name: str) -> tuple[int, ...]:
        """Return the largest shape of an input that the engine was built for."""
        shape = tuple(self._engine.get_tensor_shape(name))
        return tuple(self._engine.get_tensor_profile_shape(name, 0)[2]) if -1 in shape else shape

    def set_shapes(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Set the shapes of the inputs, and return those of the outputs.

        Raises:
            DeviceError: the engine was not built for one of the shapes.
        """
        for name, shape in shapes.items():
            if not self._context.set_input_shape(name, shape):
                raise self._failure(f"{name} of shape {shape}")
        return {name: tuple(self._context.get_tensor_shape(name)) for name in self.outputs}

    def size(self, name: str, shape: tuple[int, ...]) -> int:
        """Return the bytes that a tensor takes in a shape."""
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

    def _failure(self, place: str) -> DeviceError:
        return DeviceError(f"TensorRT failed while running the {self._name} engine at {place}: {last_error(self._log)}")


def _context(trt: Library, engine: CudaEngine, *, growing: bool) -> ExecutionContext | None:
    """Make an execution context.

    For the decoder, whose past grows at every step, TensorRT-RTX would compile kernels in the background for each new
    length; that is turned off.
    """
    strategies = getattr(trt, "DynamicShapesKernelSpecializationStrategy", None)
    if not growing or strategies is None:
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    config.dynamic_shapes_kernel_specialization_strategy = strategies.NONE
    return engine.create_execution_context(config)
