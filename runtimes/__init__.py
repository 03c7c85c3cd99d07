"""The engines that run a bundle, each behind the same contract (:class:`f2edge.engine.Runtime`)."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from f2edge.errors import DeviceError, MissingExtraError
from f2edge.machine import default_threads
from f2edge.placement import Placement, parse_placement
from f2edge.runtimes.device import Device
from f2edge.runtimes.fixed_shapes import StaticRuntime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from f2edge.bundle.manifest import Bundle
    from f2edge.engine import BackboneRuntime, Runtime

_MODULES = {
    "openvino": "f2edge.runtimes.openvino.runtime",
    "onnxruntime": "f2edge.runtimes.onnxruntime.runtime",
    "tensorrt": "f2edge.runtimes.tensorrt.runtime",
}
_BACKBONES = {
    "openvino": "f2edge.runtimes.openvino.backbone",
    "onnxruntime": "f2edge.runtimes.onnxruntime.backbone",
}
_EXTRAS = {"rtx": "rtx"}
"""The extra of each target that has one of its own."""
RUNTIMES = tuple(_MODULES)
"""Names of the engines, as a bundle's recipe gives them."""

__all__ = [
    "RUNTIMES",
    "Device",
    "advising",
    "devices",
    "has_device",
    "identities",
    "missing",
    "open_backbone",
    "open_runtime",
]


class _EngineModule(Protocol):
    """The functions that the module of every engine has."""

    def open_runtime(self, bundle: Bundle, placement: Placement) -> Runtime:
        """Load a bundle on the devices of a placement."""
        ...

    def devices(self) -> list[Device]:
        """List the devices that the engine sees."""
        ...

    def missing(self) -> list[str]:
        """Say how to make kinds of devices visible that the engine does not see, one line each."""
        ...


class _BackboneModule(Protocol):
    """The function that the module of every engine for backbones has."""

    def open_backbone(self, bundle: Bundle, placement: Placement) -> BackboneRuntime:
        """Load a bundle on the device of a placement."""
        ...


def open_runtime(bundle: Bundle, device: str | Placement | None = None) -> Runtime:
    """Load a bundle into the engine that it was compiled for.

    Args:
        bundle: an opened bundle.
        device: the device of each component (:mod:`f2edge.placement`); by default the device that the bundle was
            compiled for.  Unless it names a number of threads, they follow what this process may use
            (:func:`f2edge.machine.default_threads`).

    Raises:
        DeviceError: the engine has no such device or cannot load the bundle there.
        MissingExtraError: the engine is not installed.
    """
    name = bundle.recipe.runtime
    if name not in RUNTIMES:
        raise DeviceError(f"{bundle.path} is for the runtime {name}, which this version does not have")
    placement = device if isinstance(device, Placement) else parse_placement(device, bundle.recipe.device)
    placement = replace(placement, threads=placement.threads or default_threads())
    runtime = _module(name, bundle.recipe.target).open_runtime(bundle, placement)
    shapes = bundle.recipe.static_shapes
    return StaticRuntime(runtime, shapes) if shapes else runtime


def open_backbone(bundle: Bundle, device: str | None = None, threads: int | None = None) -> BackboneRuntime:
    """Load a backbone bundle into the engine that it was compiled for.

    Args:
        bundle: an opened backbone bundle.
        device: the device; by default the one that the bundle was compiled for.
        threads: CPU threads; by default they follow what this process may use.

    Raises:
        DeviceError: the engine does not run backbones, has no such device or cannot load the bundle there.
        MissingExtraError: the engine is not installed.
    """
    name = bundle.recipe.runtime
    if name not in _BACKBONES:
        raise DeviceError(f"{bundle.path} is for the runtime {name}, which runs no backbones in this version")
    if device is not None and "=" in str(device):
        raise DeviceError(f"`device` {device}: a backbone is one graph; name one device, such as CPU")
    placement = parse_placement(device, bundle.recipe.device, threads)
    placement = replace(placement, threads=placement.threads or default_threads())
    module: _BackboneModule = importlib.import_module(_BACKBONES[name])
    return module.open_backbone(bundle, placement)


def devices() -> list[Device]:
    """List the devices of all installed engines."""
    visible: list[Device] = []
    for name in RUNTIMES:
        try:
            visible += _module(name).devices()
        except MissingExtraError:
            continue
    return visible


def identities(runtime: str, target: str = "") -> tuple[str, ...]:
    """Return the identity of each device of one engine; the verdict of a self-check is valid for these.

    Args:
        runtime: the name of the engine.
        target: the target of the bundle that it is for.

    Raises:
        MissingExtraError: the engine is not installed.
    """
    return tuple(device.identity for device in _module(runtime, target).devices())


def has_device(runtime: str, device: str) -> bool:
    """Tell whether an engine is installed and sees a device of this kind; "GPU" stands for "GPU.0" too."""
    return any(each.runtime == runtime and each.device.split(".")[0] == device for each in devices())


def missing() -> list[str]:
    """Say how to get engines that are not installed and devices that are not visible, one line each."""
    lines: list[str] = []
    for name in RUNTIMES:
        try:
            lines += _module(name).missing()
        except MissingExtraError as error:
            lines.append(str(error))
    return lines


if TYPE_CHECKING:
    from f2edge.runtimes.onnxruntime import backbone as onnxruntime_backbone
    from f2edge.runtimes.onnxruntime import runtime as onnxruntime
    from f2edge.runtimes.openvino import backbone as openvino_backbone
    from f2edge.runtimes.openvino import runtime as openvino
    from f2edge.runtimes.tensorrt import runtime as tensorrt

    _CHECKED: tuple[_EngineModule, ...] = (openvino, onnxruntime, tensorrt)
    """Lets the type checker compare each engine's module, which is imported by its name, with the protocol."""
    _CHECKED_BACKBONES: tuple[_BackboneModule, ...] = (openvino_backbone, onnxruntime_backbone)


def _module(name: str, target: str = "") -> _EngineModule:
    with advising(target):
        return importlib.import_module(_MODULES[name])


@contextmanager
def advising(target: str) -> Iterator[None]:
    """Let the error about a missing package name the extra of a bundle's target: one engine is in two of them."""
    try:
        yield
    except MissingExtraError as error:
        if target not in _EXTRAS:
            raise
        raise MissingExtraError(error.package, _EXTRAS[target]) from error
