"""Engines that were built on this machine, each under a key of everything that it depends on.

A portable bundle holds graphs; the first start on a device turns them into engines and keeps those, in the bundle if
that takes files, else in the user's cache.  An engine is written beside its place and renamed into it: two processes
may build the same one at the same time, and one that is killed leaves nothing that would be read.
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

Progress: TypeAlias = Callable[[str, float], None]
"""Called with the name of a component and the share of its build that is done, 0 when it begins and 1 at its end."""

_log = logging.getLogger(__name__)

_FOLDER = "engines"
_FORMAT = b"f2edge engine 1\n"
_WORKSPACE_SHARE = 4
"""A kernel may take a quarter of the GPU's memory, which a Jetson shares with everything else."""


class GpuProperties(Protocol):
    """What an engine depends on of the GPU (:class:`f2edge.runtimes.tensorrt.cuda.Gpu`)."""

    full_name: str
    compute_capability: tuple[int, int]
    total_memory: int


@dataclass(frozen=True)
class Engine:
    """One component's engine: its bytes, where they are kept, if anywhere, and whether they were built just now."""

    plan: bytes | memoryview
    path: Path | None
    built: bool


@dataclass(frozen=True)
class EngineCache:
    """The engines of one bundle for one GPU.

    Args:
        bundle: with engines, or with graphs.
        trt: the vendor's module.
        gpu: what the engines will run on.
    """

    bundle: Bundle
    trt: Any
    gpu: GpuProperties

    def engines(self, progress: Progress | None = None, workspace: int | None = None) -> dict[str, Engine]:
        """Every component's engine: the bundle's own, the cached one, or one built now.

        Args:
            progress: told the component and the share of its build that is done; by default the log is.
            workspace: most bytes of the GPU's memory that a kernel may take; by default a quarter of all.

        Raises:
            CompileError: an engine cannot be built.
        """
        ranges = profiles(self.bundle.geometry, self.bundle.generation)
        options = BuildOptions(workspace or self.gpu.total_memory // _WORKSPACE_SHARE)
        found = {}
        for name in self.bundle.components:
            path = self.bundle.file(name)
            if path.suffix == ".onnx":
                found[name] = self._engine(name, ranges[name], options, progress or _log_progress)
            else:
                found[name] = Engine(path.read_bytes(), path, built=False)
        return found

    def key(self, name: str, profile: Profile) -> str:
        """A name for everything that an engine depends on: library, GPU, graph, profile, precision."""
        component = self.bundle.components[name]
        return digest([*self._device(), sorted(component.sha256.items()), profile, component.precision])[:32]

    def _device(self) -> list[Any]:
        return [library_name(self.trt), self.gpu.full_name, self.gpu.compute_capability]

    def _engine(self, name: str, profile: Profile, options: BuildOptions, progress: Progress) -> Engine:
        file = f"{name}-{self.key(name, profile)}.engine"
        for folder in self._folders():
            if (plan := _read(folder / file)) is not None:
                return Engine(plan, folder / file, built=False)
        progress(name, 0.0)
        timings = f"timings-{digest(self._device())[:32]}.cache"
        known = next((bytes(found) for folder in self._folders() if (found := _read(folder / timings))), b"")
        exact = self.bundle.components[name].precision == "fp32"
        options = replace(options, timing_cache=known, tf32=not exact)
        built = build_engine(self.trt, self.bundle.file(name), profile, options, partial(progress, name))
        path = _keep(self._folders(), file, built.plan)
        if built.timing_cache:
            _keep(self._folders(), timings, built.timing_cache)
        progress(name, 1.0)
        return Engine(built.plan, path, built=True)

    def _folders(self) -> tuple[Path, Path]:
        return self.bundle.path / _FOLDER, user_cache() / _FOLDER


def _read(path: Path) -> memoryview | None:
    """What a file of the cache holds; None where it is missing, cut off or changed."""
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return None
    start = len(_FORMAT) + hashlib.sha256().digest_size
    data = content[start:]
    return data if content[:start] == _FORMAT + hashlib.sha256(data).digest() else None


def _keep(folders: tuple[Path, ...], file: str, data: bytes) -> Path | None:
    """Write a file into the first of the folders that takes it; None where none does."""
    for folder in folders:
        if write_whole(folder / file, _FORMAT + hashlib.sha256(data).digest() + data):
            return folder / file
    _log.warning("%s could not be kept: neither %s takes files", file, " nor ".join(map(str, folders)))
    return None


def _log_progress(name: str, share: float) -> None:
    if share == 0:
        _log.info("building the %s engine for this GPU; the next start will find it", name)
