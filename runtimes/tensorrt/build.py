"""Build a TensorRT engine from an ONNX graph: on its device, or ahead of time without a GPU (TensorRT-RTX only).

TensorRT's own parser reads the graph, so a device needs no other package for this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from f2edge.errors import CompileError
from f2edge.runtimes.tensorrt.library import RTX, last_error, library_name, make_log

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.runtimes.tensorrt.profiles import Profile
    from f2edge.runtimes.tensorrt.vendor import (
        BuilderConfig,
        EngineBuilder,
        GraphParser,
        Library,
        Log,
        Network,
        ParserError,
    )

Progress: TypeAlias = Callable[[float], None]
"""Called with the share of the build that is done, from 0 to 1; it never decreases."""


@dataclass(frozen=True)
class BuildOptions:
    """Options of building an engine, beside the graph and its profile.

    Args:
        workspace: bytes of device memory that a kernel may take for intermediate values; None for no limit.
        timing_cache: kernel timings of an earlier build on this device, as TensorRT wrote them.
        compute_capabilities: compute capabilities of the GPUs that a TensorRT-RTX engine is to run on, such as 86 for
            8.6; empty for all that TensorRT-RTX takes by default.
        tf32: whether products of fp32 tensors may round their operands to 11 bits.  A graph in half precision loses
            nothing, because its tensors were rounded so before; an fp32 graph loses its fourth digit.
    """

    workspace: int | None = None
    timing_cache: bytes = b""
    compute_capabilities: Sequence[int] = ()
    tf32: bool = True


@dataclass(frozen=True)
class Built:
    """A serialized engine, and the timing cache for the next build (empty for TensorRT-RTX)."""

    plan: bytes
    timing_cache: bytes


def build_engine(
    trt: Library,
    graph: Path,
    profile: Profile,
    options: BuildOptions | None = None,
    progress: Progress = lambda _share: None,
) -> Built:
    """Build the engine of one graph, strongly typed: every tensor has the data type that the graph gives it.

    Args:
        trt: TensorRT.
        graph: the ``.onnx`` file; its stem names the component.
        profile: the range of each input whose shape varies.
        options: limits, timings and GPUs.
        progress: called as the build goes on.

    Raises:
        CompileError: the parser refuses a node, which the message names, or the build fails.
    """
    log = make_log(trt)
    builder = trt.Builder(log)
    if builder is None:
        raise CompileError(f"{library_name(trt)} cannot build here: {last_error(log)}")
    network, parser = parse(trt, builder, log, graph)
    options = options or BuildOptions()
    config = _configure(trt, builder, options)
    if profile:
        config.add_optimization_profile(_optimization_profile(builder, profile))
    monitor = _monitor(trt, progress)  # the builder does not keep it alive
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    del parser  # it owns the weights, which are needed until here
    if plan is None:
        raise CompileError(f"{library_name(trt)} cannot build the {graph.stem} engine: {last_error(log)}")
    return Built(bytes(plan), bytes(config.get_timing_cache().serialize()) if _times_kernels(trt) else b"")


def parse(trt: Library, builder: EngineBuilder, log: Log, graph: Path) -> tuple[Network, GraphParser]:
    """Parse a graph.

    Returns:
        The network, and the parser, which owns the network's weights.

    Raises:
        CompileError: the parser refuses a node, which the message names.
    """
    # a later version may know strongly typed networks only, and have no flag for them
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        reason = "; ".join(map(_describe, errors)) or last_error(log)
        raise CompileError(f"{library_name(trt)} refuses the {graph.stem} graph: {reason}")
    return network, parser


def _describe(error: ParserError) -> str:
    where = f"node {error.node_name()} ({error.node_operator()}): " if error.node_name() else ""
    return f"{where}{' '.join(error.desc().split())}"


def _configure(trt: Library, builder: EngineBuilder, options: BuildOptions) -> BuilderConfig:
    config = builder.create_builder_config()
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if _times_kernels(trt):
        _attach_timings(config, options.timing_cache)
    if options.compute_capabilities:
        config.num_compute_capabilities = len(options.compute_capabilities)
        for index, capability in enumerate(options.compute_capabilities):
            config.set_compute_capability(_capability(trt, capability), index)
    return config


def _attach_timings(config: BuilderConfig, timings: bytes) -> None:
    """Start from known timings, or from none if TensorRT refuses them as those of another device or version."""
    if not config.set_timing_cache(config.create_timing_cache(timings), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _capability(trt: Library, number: int) -> Any:
    names = {int(name[2:]): name for name in dir(trt.ComputeCapability) if name.startswith("SM")}
    if number not in names:
        listed = ", ".join(map(str, sorted(names)))
        raise CompileError(f"{library_name(trt)} does not build for compute capability {number}; it knows {listed}")
    return getattr(trt.ComputeCapability, names[number])


def _optimization_profile(builder: EngineBuilder, profile: Profile) -> Any:
    optimization_profile = builder.create_optimization_profile()
    for name, shapes in profile.items():
        optimization_profile.set_shape(name, *shapes)
    return optimization_profile


def _times_kernels(trt: Library) -> bool:
    """Tell whether the builder times kernels on the GPU; TensorRT-RTX chooses them when an engine is loaded."""
    return trt.__name__ != RTX


def _monitor(trt: Library, progress: Progress) -> Any:
    """Make a progress monitor that reports the outermost phase; the phases within it come and go."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined] # the loaded library's base class
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.outermost, self.steps, self.share = "", 1, 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Begin a phase."""
            if not parent_phase:
                self.outermost, self.steps = phase_name, num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Report a step, and let the build go on."""
            if phase_name == self.outermost:
                self.share = max(self.share, (step + 1) / self.steps)  # phases may follow one another
                progress(self.share)
            return True

        def phase_finish(self, phase_name: str) -> None:
            """End a phase."""

    return Monitor()
