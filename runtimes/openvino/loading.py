"""Compile the graphs of a bundle, each for its device, or take them from the user's cache."""

from __future__ import annotations

import hashlib
import locale
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import openvino as ov

from f2edge.bundle.manifest import sha256
from f2edge.bundle.user_cache import kept_whole
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import DeviceError
from f2edge.runtimes.openvino.bf16 import decodes_in_bf16, split_head, with_bf16_cross
from f2edge.runtimes.openvino.decoders import take_idle
from f2edge.runtimes.openvino.devices import (
    KERNELS,
    WEIGHTS,
    bound_cache,
    cache_directory,
    cache_options,
    check_device,
    compile_options,
    may_cache,
    set_defaults,
)
from f2edge.runtimes.openvino.integer import faults_of, rewrite
from f2edge.runtimes.openvino.pages import release_mapped_pages

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.placement import Placement
    from f2edge.targets import Compute, Precision

_END = 'offset="0" size="0"'
_CONSTANT = re.compile(r'(.*?)offset="(\d+)" size="(\d+)"', re.DOTALL)
"""The text of a graph up to a constant, and where its file of weights holds the constant, in bytes."""
_SMALL_IMAGE = 96
"""Pixels; below this width or height the tower's last map is only two positions wide."""
_WORKERS = 2
"""Graphs that are compiled at the same time: the tower takes most of the time and one thread, and the other two are
finished before it is."""
_LOADING = Lock()
"""Models are loaded one after the other: the locale belongs to the whole process (docs/traps.md)."""


@dataclass(frozen=True)
class LoadPlan:
    """Everything that decides what is compiled of a bundle, and how.

    Args:
        graphs: the file (``.xml``) of each component; its weights are beside it in ``weights.bin``.
        placement: the device of each component ("CPU", "GPU", "NPU", "AUTO", ...), and the number of CPU threads.
        compute: data type of each component's float operations on the CPU; fp32 for components that are not named.
        decoder_precision: data type of the decoder's stored weights.
        bundle_hash: SHA-256 of the bundle's manifest, the key of the user's cache; None to compile without a cache.
        decoder_key: everything that decides how the decoder is compiled; None if it is not to be used again.
        image_size: (height, width) in pixels to compile a tower for that leaves its size open; None keeps its size.
    """

    graphs: Mapping[str, Path]
    placement: Placement
    compute: Mapping[str, Compute] = field(default_factory=dict)
    decoder_precision: Precision = "fp32"
    bundle_hash: str | None = None
    decoder_key: Hashable = None
    image_size: tuple[int, int] | None = None

    @classmethod
    def of(cls, bundle: Bundle, placement: Placement) -> LoadPlan:
        """Plan to load a bundle; one that is still being made has no manifest, so nothing of it is cached."""
        manifest, decoder = bundle.path / MANIFEST, bundle.components["decoder"]
        bundle_hash = sha256(manifest) if manifest.is_file() else None
        compute = {name: component.compute for name, component in bundle.components.items()}
        key = None
        if placement.devices()["decoder"] == "CPU":
            made_of = bundle_hash or graph_hash(bundle.file("decoder"))
            key = (
                made_of,
                str(placement),
                placement.threads,
                placement.workers,
                decoder.precision,
                *sorted(compute.items()),
            )
        return cls(
            graphs={name: bundle.file(name) for name in bundle.components},
            placement=placement,
            compute=compute,
            decoder_precision=decoder.precision,
            bundle_hash=bundle_hash,
            decoder_key=key,
        )

    def device(self, component: str) -> str:
        """Return the device of a component."""
        return self.placement.devices()[component]


def graph_hash(graph: Path) -> str:
    """Hash a graph and the values of its constants, wherever in the file of weights they are.

    Bundles in the making share decoders, but each has its own file of weights.
    """
    whole = hashlib.sha256()
    with graph.with_name(WEIGHTS).open("rb") as weights:
        for text, offset, size in _CONSTANT.findall(graph.read_text(encoding="utf-8") + _END):
            whole.update(text.encode())
            weights.seek(int(offset))
            whole.update(weights.read(int(size)))
    return whole.hexdigest()


def compile_graphs(plan: LoadPlan) -> dict[str, ov.CompiledModel]:
    """Compile the graphs of a plan.

    Returns:
        Compiled models by component.  The head of a decoder that computes in bf16 is a model of its own, ``head``.

    Raises:
        DeviceError: OpenVINO does not see a device, or cannot compile a graph for it.
    """
    os.environ.setdefault("DNNL_PRIMITIVE_CACHE_CAPACITY", KERNELS)  # read when the first graph is compiled
    core, devices = ov.Core(), plan.placement.devices()
    for device in devices.values():
        check_device(core, device)
        set_defaults(core, device)
    if not decodes_in_bf16(core, devices, plan.compute):
        # a decoder in bf16 that gets fp32 keys and values would convert them at each step, at more cost than it saves
        plan = replace(plan, compute={**plan.compute, "decoder": "fp32"})
    with _LOADING, _same_locale(), ThreadPoolExecutor(_WORKERS) as pool:
        components = list(pool.map(partial(_compile_component, core, plan), plan.graphs))
    if plan.bundle_hash:
        bound_cache()
    return {part: model for models in components for part, model in models.items()}


@contextmanager
def _same_locale() -> Iterator[None]:
    """Restore the locale, which OpenVINO changes when it reads two graphs at once (docs/traps.md)."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _compile_component(core: ov.Core, plan: LoadPlan, component: str) -> dict[str, ov.CompiledModel]:
    path = plan.graphs[component]
    try:
        model = core.read_model(path, path.with_name(WEIGHTS))
        if plan.image_size:
            model.reshape([1, 3, *plan.image_size])
        rewrite(model, faults_of(model, plan.device(component)))
        parts = _parts(plan, component, model)
        compiled = {name: _compile_part(core, plan, component, part, compute) for name, part, compute in parts}
    except RuntimeError as error:
        where = f"the graphs in {path.parent} on {plan.device(component)}"
        raise DeviceError(f"OpenVINO cannot load {where}: {component}: {last_line(error)}") from error
    # else the pages that all graphs were read from make the peak of memory; what is needed again comes back from disk
    release_mapped_pages(path.with_name(WEIGHTS))
    return compiled


def _parts(plan: LoadPlan, component: str, model: ov.Model) -> Iterator[tuple[str, ov.Model, Compute]]:
    """Yield name, graph and compute type of each part of a component."""
    compute = plan.compute.get(component, "fp32")
    if component == "vision" or plan.compute["decoder"] == "fp32":
        yield component, model, compute
    elif component == "encoder":
        yield component, with_bf16_cross(model), compute
    else:
        layers, head = split_head(with_bf16_cross(model))
        yield from ((component, layers, compute), ("head", head, "fp32"))


def _compile_part(core: ov.Core, plan: LoadPlan, component: str, model: ov.Model, compute: Compute) -> ov.CompiledModel:
    if model.get_sinks() and (idle := take_idle(plan.decoder_key)) is not None:
        return idle
    device, weights = plan.device(component), plan.graphs[component].with_name(WEIGHTS)
    place = plan.placement
    options = compile_options(
        component, device, place.all_threads, compute, plan.decoder_precision, workers=place.workers
    )
    directory = None
    if plan.bundle_hash and may_cache(component, device, plan.decoder_precision):
        faults = sorted(fault.value for fault in faults_of(model, device))
        directory = cache_directory(core, device, {**options, "faults": faults}, plan.bundle_hash, ov.__version__)
    options |= _small_image_options(component, model, device)
    if directory is None:
        return core.compile_model(model, device, options)
    with kept_whole(directory) as usable:  # one start at a time: OpenVINO reads what another start is still writing
        cached = cache_options(directory, device, weights) if usable else {}
        return core.compile_model(model, device, options | cached)


def _small_image_options(component: str, model: ov.Model, device: str) -> dict[str, str]:
    """Turn off the CPU plugin's fused attention, which crashes while it compiles the tower for a small image."""
    small = component == "vision" and min(list(model.input(0).shape)[2:]) < _SMALL_IMAGE
    return {"SNIPPETS_MODE": "DISABLE"} if small and device == "CPU" else {}


def last_line(error: Exception) -> str:
    """Return the reason in an error of OpenVINO; the lines before it name places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
