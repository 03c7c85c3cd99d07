"""From the graphs of a bundle to compiled models, each for its device, by way of the user's cache."""

from __future__ import annotations

import locale
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openvino as ov

from f2edge.bundle.user_cache import claimed
from f2edge.errors import DeviceError
from f2edge.runtimes.openvino.bf16 import decodes_in_bf16, split_head, with_bf16_cross
from f2edge.runtimes.openvino.devices import (
    KERNELS,
    WEIGHTS,
    bound_cache,
    cache_options,
    check_device,
    may_cache,
    options,
    set_defaults,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from f2edge.placement import Placement
    from f2edge.targets import Compute, Precision

_SMALL_PICTURE = 96
_AT_ONCE = 2
"""The tower's graph takes most of the time, and one thread; the others are ready before it is."""


def compile_graphs(
    graphs: Mapping[str, Path],
    placement: Placement,
    manifest: Path | None,
    compute: Mapping[str, Compute],
    decoder: Precision,
) -> dict[str, ov.CompiledModel]:
    """Compile graphs (``.xml``) for the devices of a placement.

    Returns:
        Models by component; a decoder in bf16 has its ``head`` apart.

    Raises:
        DeviceError: there is no such device, or it cannot take the graphs.
    """
    os.environ.setdefault("DNNL_PRIMITIVE_CACHE_CAPACITY", KERNELS)  # read when the first graph is compiled
    core, devices = ov.Core(), placement.devices()
    for device in devices.values():
        check_device(core, device)
        set_defaults(core, device)
    if not decodes_in_bf16(core, devices, compute):
        compute = {**compute, "decoder": "fp32"}  # to convert keys and values at each step costs more than bf16 saves
    loading = _Loading(core, devices, placement.threads, manifest, compute, decoder)
    with _same_locale(), ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(loading.models, graphs, graphs.values()))
    if manifest:
        bound_cache()
    return {part: model for models in found for part, model in models.items()}


@contextmanager
def _same_locale() -> Iterator[None]:
    """OpenVINO sets it while it reads a graph; two graphs at once leave it changed (docs/traps.md)."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


@dataclass(frozen=True)
class _Loading:
    """What the graphs of a bundle are compiled with."""

    core: ov.Core
    devices: Mapping[str, str]
    threads: int | None
    manifest: Path | None
    compute: Mapping[str, Compute]
    decoder: Precision

    def models(self, name: str, path: Path) -> dict[str, ov.CompiledModel]:
        """The compiled models of a component."""
        try:
            whole = self.core.read_model(path, path.with_name(WEIGHTS))
            return {part: self._compiled(name, model, to) for part, model, to in self._parts(name, whole)}
        except RuntimeError as error:
            where = f"the graphs in {path.parent} on {self.devices[name]}"
            raise DeviceError(f"OpenVINO cannot load {where}: {name}: {last_line(error)}") from error

    def _parts(self, name: str, model: ov.Model) -> Iterator[tuple[str, ov.Model, Compute]]:
        """What to compile of a component, and what for."""
        precision = self.compute.get(name, "fp32")
        if name == "vision" or self.compute["decoder"] == "fp32":
            yield name, model, precision
        elif name == "encoder":
            yield name, with_bf16_cross(model), precision
        else:
            layers, head = split_head(with_bf16_cross(model))
            yield from ((name, layers, precision), ("head", head, "fp32"))

    def _compiled(self, name: str, model: ov.Model, precision: Compute) -> ov.CompiledModel:
        device = self.devices[name]
        chosen = options(name, device, self.threads, precision, self.decoder)
        cached: dict[str, str] = {}
        if self.manifest and may_cache(name, device, self.decoder):
            cached = cache_options(self.core, device, chosen, self.manifest, ov.__version__)
        return _compile(self.core, model, device, chosen | _small_picture_options(name, model, device), cached)


def _compile(
    core: ov.Core, model: ov.Model, device: str, chosen: dict[str, Any], cached: dict[str, str]
) -> ov.CompiledModel:
    """One start at a time uses a directory of the cache: OpenVINO reads what another start is still writing."""
    if not cached:
        return core.compile_model(model, device, chosen)
    with claimed(Path(cached["CACHE_DIR"])) as mine:
        return core.compile_model(model, device, chosen | (cached if mine else {}))


def _small_picture_options(component: str, model: ov.Model, device: str) -> dict[str, str]:
    """The CPU plugin's fused attention crashes while compiling a tower whose last map is two positions wide."""
    small = component == "vision" and min(list(model.input(0).shape)[2:]) < _SMALL_PICTURE
    return {"SNIPPETS_MODE": "DISABLE"} if small and device == "CPU" else {}


def last_line(error: Exception) -> str:
    """OpenVINO's messages begin with source lines of its own; the reason stands last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
