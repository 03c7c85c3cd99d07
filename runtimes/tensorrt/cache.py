"""Keep the engines that were built on this machine, each under a key of everything that it depends on.

A portable bundle holds graphs.  Its first start on a device builds engines from them and keeps these in the bundle, or
in the user's cache if the bundle's directory takes no files.  An engine is written beside its place and renamed: two
processes may build the same engine at the same time, and one that is killed leaves nothing that would be read.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from f2edge.bundle.user_cache import digest, user_cache, write_whole
from f2edge.runtimes.tensorrt.build import BuildOptions, build_engine
from f2edge.runtimes.tensorrt.library import library_name
from f2edge.runtimes.tensorrt.profiles import profiles

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.runtimes.tensorrt.profiles import Profile
    from f2edge.runtimes.tensorrt.vendor import Library

Progress: TypeAlias = Callable[[str, float], None]
"""Called with a component's name and the share of its build that is done: 0 when it begins, 1 when it ends."""

_log = logging.getLogger(__name__)

_FOLDER = "engines"
_FORMAT = b"f2edge engine 1\n"
_WORKSPACE_SHARE = 4
"""A kernel may take a quarter of the GPU's memory, which on a Jetson is also the memory of everything else."""


class GpuProperties(Protocol):
    """The properties of a GPU that an engine depends on (:class:`f2edge.runtimes.tensorrt.cuda.Gpu`)."""

    full_name: str
    compute_capability: tuple[int, int]
    total_memory: int


@dataclass(frozen=True)
class Engine:
    """One component's engine.

    Args:
        plan: the serialized engine.
        path: the file that keeps it; None if no directory takes files.
        built: whether it was built just now.
    """

    plan: bytes | memoryview
    path: Path | None
    built: bool


@dataclass(frozen=True)
class EngineCache:
    """The engines of one bundle for one GPU.

    Args:
        bundle: a bundle of engines or of graphs.
        trt: TensorRT.
        gpu: the GPU that the engines will run on.
    """

    bundle: Bundle
    trt: Library
    gpu: GpuProperties

    def engines(self, progress: Progress | None = None, workspace: int | None = None) -> dict[str, Engine]:
        """Return the engine of every component: the bundle's own, a cached one, or one that is built now.

        Args:
            progress: called as builds go on; by default each build is logged.
            workspace: bytes of the GPU's memory that a kernel may take; by default a quarter of all.

        Raises:
            CompileError: an engine cannot be built.
        """
        ranges = profiles(self.bundle.geometry, self.bundle.generation)
        options = BuildOptions(workspace or self.gpu.total_memory // _WORKSPACE_SHARE)
        engines = {}
        for name in self.bundle.components:
            path = self.bundle.file(name)
            if path.suffix == ".onnx":
                engines[name] = self._engine(name, ranges[name], options, progress or _log_progress)
            else:
                engines[name] = Engine(path.read_bytes(), path, built=False)
        return engines

    def key(self, name: str, profile: Profile) -> str:
        """Return a hash of everything that a component's engine depends on: library, GPU, graph, profile, precision."""
        component = self.bundle.components[name]
        return digest([*self._device(), sorted(component.sha256.items()), profile, component.precision])[:32]

    def _device(self) -> list[Any]:
        return [library_name(self.trt), self.gpu.full_name, self.gpu.compute_capability]

    def _engine(self, name: str, profile: Profile, options: BuildOptions, progress: Progress) -> Engine:
        file = f"{name}-{self.key(name, profile)}.engine"
        for folder in self._folders():
            if (plan := _read(folder / file)) is not None:
                return Engine(plan, folder / file, built=False)
        return self._build(name, file, profile, options, progress)

    def _build(self, name: str, file: str, profile: Profile, options: BuildOptions, progress: Progress) -> Engine:
        progress(name, 0.0)
        timings = f"timings-{digest(self._device())[:32]}.cache"
        exact = self.bundle.components[name].precision == "fp32"
        options = replace(options, timing_cache=self._timings(timings), tf32=not exact)
        built = build_engine(self.trt, self.bundle.file(name), profile, options, partial(progress, name))
        path = _keep(self._folders(), file, built.plan)
        if built.timing_cache:
            _keep(self._folders(), timings, built.timing_cache)
        progress(name, 1.0)
        return Engine(built.plan, path, built=True)

    def _timings(self, file: str) -> bytes:
        """Return the timings that earlier builds on this GPU left; empty if there are none."""
        contents = (_read(folder / file) for folder in self._folders())
        return next((bytes(content) for content in contents if content), b"")

    def _folders(self) -> tuple[Path, Path]:
        return self.bundle.path / _FOLDER, user_cache() / _FOLDER


def _read(path: Path) -> memoryview | None:
    """Read a file of the cache; None if it is missing, cut off or changed."""
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return None
    start = len(_FORMAT) + hashlib.sha256().digest_size
    data = content[start:]
    return data if content[:start] == _FORMAT + hashlib.sha256(data).digest() else None


def _keep(folders: tuple[Path, ...], file: str, data: bytes) -> Path | None:
    """Write a file into the first folder that takes it; None if none does."""
    for folder in folders:
        if write_whole(folder / file, _FORMAT + hashlib.sha256(data).digest() + data):
            return folder / file
    _log.warning("%s could not be kept: neither %s takes files", file, " nor ".join(map(str, folders)))
    return None


def _log_progress(name: str, share: float) -> None:
    if share == 0:
        _log.info("building the %s engine for this GPU; later starts will reuse it", name)
