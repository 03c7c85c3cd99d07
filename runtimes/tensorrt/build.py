"""From one ONNX graph to a TensorRT engine: on the device itself, or ahead of time with no GPU at all (TensorRT-RTX).

The edge may import this: TensorRT's own parser reads the graph.
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

Progress: TypeAlias = Callable[[float], None]
"""Called with the share of the build that is done, from 0 to 1; it never falls."""


@dataclass(frozen=True)
class BuildOptions:
    """What shapes a build beside the graph and its profile.

    Args:
        workspace: most bytes of device memory that a kernel may take for intermediate values; None for no limit.
        timing_cache: what an earlier build measured of kernels on this device, as TensorRT wrote it.
        compute_capabilities: of the GPUs that a TensorRT-RTX engine shall run on, 86 for 8.6; none for all that it
            takes by default.
        tf32: let products of fp32 tensors round what they multiply to 11 bits.  That costs a half precision graph
            nothing, as its tensors were rounded so before, and an fp32 graph its fourth digit.
    """

    workspace: int | None = None
    timing_cache: bytes = b""
    compute_capabilities: Sequence[int] = ()
    tf32: bool = True


@dataclass(frozen=True)
class Built:
    """A serialized engine, and the timing cache that its build leaves behind."""

    plan: bytes
    timing_cache: bytes


def build_engine(
    trt: Any,
    graph: Path,
    profile: Profile,
    options: BuildOptions | None = None,
    progress: Progress = lambda _share: None,
) -> Built:
    """Build the engine of one graph, strongly typed: every tensor has the type that the graph gives it.

    Args:
        trt: the module, ``tensorrt`` or ``tensorrt_rtx``.
        graph: the ``.onnx``; its stem names the component.
        profile: the range of every shape that varies.
        options: limits and targets.
        progress: told how far the build is.

    Raises:
        CompileError: the parser refuses a node, which is named, or no engine can be built.
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
    del parser  # weights belong to it until here
    if plan is None:
        raise CompileError(f"{library_name(trt)} cannot build the {graph.stem} engine: {last_error(log)}")
    return Built(bytes(plan), bytes(config.get_timing_cache().serialize()) if _measures(trt) else b"")


def parse(trt: Any, builder: Any, log: Any, graph: Path) -> tuple[Any, Any]:
    """The network that the parser makes of a graph, and the parser, which owns the weights.

    Raises:
        CompileError: the parser refuses a node, which is named.
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # some day the only way, without a flag
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        faults = [parser.get_error(index) for index in range(parser.num_errors)]
        reason = "; ".join(map(_describe, faults)) or last_error(log)
        raise CompileError(f"{library_name(trt)} refuses the {graph.stem} graph: {reason}")
    return network, parser


def _describe(fault: Any) -> str:
    where = f"node {fault.node_name()} ({fault.node_operator()}): " if fault.node_name() else ""
    return f"{where}{' '.join(fault.desc().split())}"


def _configure(trt: Any, builder: Any, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if _measures(trt):
        _attach_timings(config, options.timing_cache)
    if options.compute_capabilities:
        config.num_compute_capabilities = len(options.compute_capabilities)
        for index, capability in enumerate(options.compute_capabilities):
            config.set_compute_capability(_capability(trt, capability), index)
    return config


def _attach_timings(config: Any, known: bytes) -> None:
    """TensorRT refuses timings of another device or version; then it begins with none."""
    if not config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _capability(trt: Any, number: int) -> Any:
    known = {int(name[2:]): name for name in dir(trt.ComputeCapability) if name.startswith("SM")}
    if number not in known:
        listed = ", ".join(map(str, sorted(known)))
        raise CompileError(f"{library_name(trt)} does not build for compute capability {number}; it knows {listed}")
    return getattr(trt.ComputeCapability, known[number])


def _optimization_profile(builder: Any, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for name, shapes in profile.items():
        made.set_shape(name, *shapes)
    return made


def _measures(trt: Any) -> bool:
    """Whether the builder times kernels on the GPU; TensorRT-RTX chooses them when an engine is loaded."""
    return bool(trt.__name__ != RTX)


def _monitor(trt: Any, progress: Progress) -> Any:
    """Reports the outermost phase: those within it come and go."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.outermost, self.steps, self.share = "", 1, 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins."""
            if not parent_phase:
                self.outermost, self.steps = phase_name, num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step is done; the build goes on."""
            if phase_name == self.outermost:
                self.share = max(self.share, (step + 1) / self.steps)  # phases may follow one another
                progress(self.share)
            return True

        def phase_finish(self, phase_name: str) -> None:
            """A phase ends."""

    return Monitor()
