"""The engines that run a bundle, behind one contract (:class:`f2edge.engine.Runtime`); one module each."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from f2edge.errors import DeviceError, MissingExtraError
from f2edge.placement import Placement, parse_placement
from f2edge.runtimes.fixed_shapes import StaticRuntime

if TYPE_CHECKING:
    from types import ModuleType

    from f2edge.bundle.manifest import Bundle
    from f2edge.engine import Runtime

_MODULES = {
    "openvino": "f2edge.runtimes.openvino.runtime",
    "onnxruntime": "f2edge.runtimes.onnxruntime",
    "tensorrt": "f2edge.runtimes.tensorrt.runtime",
}
RUNTIMES = tuple(_MODULES)


@dataclass(frozen=True)
class Device:
    """What an engine can run on.

    Args:
        runtime: the engine's module.
        device: the engine's name of it.
        name: the maker's.
        driver: its version; empty where there is none, or the engine does not tell.
        memory_mib: of the device, or of the machine that it shares it with; ``None`` where the engine does not tell.
        capabilities: the engine's words for what it computes in.
    """

    runtime: str
    device: str
    name: str
    driver: str = ""
    memory_mib: int | None = None
    capabilities: tuple[str, ...] = ()


def open_runtime(bundle: Bundle, device: str | Placement | None = None) -> Runtime:
    """Load a bundle's graphs into the engine it was compiled for.

    Args:
        bundle: an opened bundle.
        device: where each component runs, see :mod:`f2edge.placement`; by default on the device of the bundle's target.

    Raises:
        DeviceError: the engine does not know the device, or cannot load the graphs there.
        MissingExtraError: the engine is not installed.
    """
    name = bundle.recipe.runtime
    if name not in RUNTIMES:
        raise DeviceError(f"{bundle.path} is for the runtime {name}, which this version does not have")
    placement = device if isinstance(device, Placement) else parse_placement(device, bundle.recipe.device)
    runtime: Runtime = _module(name).open_runtime(bundle, placement)
    shapes = bundle.recipe.static_shapes
    return StaticRuntime(runtime, shapes) if shapes else runtime


def devices() -> list[Device]:
    """Every device that an installed engine can see."""
    found = []
    for name in RUNTIMES:
        try:
            found += _devices(name)
        except MissingExtraError:
            continue
    return found


def identities(runtime: str) -> tuple[str, ...]:
    """Names and drivers of the devices that one engine sees; by them a verdict on a device is kept.

    Raises:
        MissingExtraError: the engine is not installed.
    """
    return tuple(f"{found.device} {found.name} {found.driver}" for found in _devices(runtime))


def has_device(runtime: str, device: str) -> bool:
    """Whether an engine is installed and sees a device of this name; ``GPU`` is also ``GPU.0``."""
    return any(found.runtime == runtime and found.device.split(".")[0] == device for found in devices())


def missing() -> list[str]:
    """What is not here and how to get it, one line each."""
    lines = []
    for name in RUNTIMES:
        try:
            lines += _module(name).missing()
        except MissingExtraError as error:
            lines.append(str(error))
    return lines


def _devices(name: str) -> list[Device]:
    return [Device(name, *fields) for fields in _module(name).devices()]


def _module(name: str) -> ModuleType:
    return importlib.import_module(_MODULES[name])
