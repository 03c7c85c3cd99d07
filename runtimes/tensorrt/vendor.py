"""The part of TensorRT that f2edge uses, as types; ``tensorrt`` and ``tensorrt_rtx`` bring none of their own.

Enumerations and base classes of the vendor are ``Any``, and so are its builder's configuration and network, which
:mod:`f2edge.runtimes.tensorrt.build` alone touches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import DTypeLike

Network: TypeAlias = Any
"""``INetworkDefinition``."""
BuilderConfig: TypeAlias = Any
"""``IBuilderConfig``."""


class Log(Protocol):
    """A logger that TensorRT writes to; see :func:`f2edge.runtimes.tensorrt.library.make_log`."""

    errors: list[str]


class Library(Protocol):
    """The module ``tensorrt`` or ``tensorrt_rtx``."""

    __name__: str
    __version__: str
    Builder: Callable[[Log], EngineBuilder | None]
    OnnxParser: Callable[[Network, Log], GraphParser]
    Runtime: Callable[[Log], EngineLoader]
    nptype: Callable[[Any], DTypeLike]
    ILogger: Any
    IProgressMonitor: Any
    BuilderFlag: Any
    ComputeCapability: Any
    MemoryPoolType: Any
    NetworkDefinitionCreationFlag: Any
    TensorIOMode: Any


class EngineBuilder(Protocol):
    """``IBuilder``."""

    def create_network(self, flags: int) -> Network:
        """Make an empty network."""

    def create_builder_config(self) -> BuilderConfig:
        """Make a configuration with TensorRT's defaults."""

    def create_optimization_profile(self) -> Any:
        """Make an ``IOptimizationProfile`` without ranges."""

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> Any:
        """Build an engine and return its bytes (``IHostMemory``), or None if that fails."""


class GraphParser(Protocol):
    """``OnnxParser``: it owns the weights of the network that it fills."""

    num_errors: int

    def parse_from_file(self, path: str) -> bool:
        """Add a graph to the network, and tell whether that succeeded."""

    def get_error(self, index: int) -> ParserError:
        """Return one of the errors."""


class ParserError(Protocol):
    """``IParserError``."""

    def node_name(self) -> str:
        """Return the name of the node that was refused; empty if the error is not about a node."""

    def node_operator(self) -> str:
        """Return the node's operator."""

    def desc(self) -> str:
        """Return the reason, which may have several lines."""


class EngineLoader(Protocol):
    """``IRuntime``."""

    def deserialize_cuda_engine(self, plan: bytes | memoryview) -> CudaEngine | None:
        """Load an engine to the current GPU, or return None if that fails."""


class CudaEngine(Protocol):
    """``ICudaEngine``."""

    num_io_tensors: int

    def get_tensor_name(self, index: int) -> str:
        """Return the name of an input or output."""

    def get_tensor_mode(self, name: str) -> Any:
        """Return a ``TensorIOMode``."""

    def get_tensor_dtype(self, name: str) -> Any:
        """Return a ``DataType``."""

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        """Return a shape in which -1 stands for a size that varies."""

    def get_tensor_profile_shape(self, name: str, profile: int) -> Sequence[Sequence[int]]:
        """Return the smallest, the usual and the largest shape of an input."""

    def create_runtime_config(self) -> Any:
        """Make an ``IRuntimeConfig``; TensorRT-RTX only."""

    def create_execution_context(self, config: Any = ..., /) -> ExecutionContext | None:
        """Reserve memory for intermediate values, or return None if there is not enough."""


class ExecutionContext(Protocol):
    """``IExecutionContext``."""

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Set an input's shape, and tell whether the engine was built for it."""

    def get_tensor_shape(self, name: str) -> Sequence[int]:
        """Return a shape that follows from the inputs' shapes."""

    def set_tensor_address(self, name: str, address: int) -> bool:
        """Set where a tensor lies on the GPU, and tell whether that succeeded."""

    def execute_async_v3(self, stream: int) -> bool:
        """Put the engine's work on a stream, and tell whether that succeeded."""
