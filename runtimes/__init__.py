"""The engines that run a bundle, behind one contract (:class:`f2edge.runtime.Runtime`); one module each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from f2edge.errors import DeviceError, MissingExtraError

if TYPE_CHECKING:
    from f2edge.bundle import Bundle
    from f2edge.runtime import Runtime

RUNTIMES = ("openvino", "onnxruntime", "tensorrt")


def open_runtime(bundle: Bundle, device: str | None = None) -> Runtime:
    """Load a bundle's graphs into the engine it was compiled for.

    Args:
        bundle: an opened bundle.
        device: the engine's name of a device; by default the one of the bundle's target.

    Raises:
        DeviceError: the engine does not know the device, or cannot load the graphs there.
        MissingExtraError: the engine is not installed.
    """
    name = bundle.recipe.runtime
    if name not in RUNTIMES:
        raise DeviceError(f"{bundle.path} is for the runtime {name}, which this version does not have")
    module = importlib.import_module(f"f2edge.runtimes.{name}")
    runtime: Runtime = module.open_runtime(bundle, device or bundle.recipe.device)
    return runtime


def devices() -> list[tuple[str, str, str]]:
    """(runtime, device, full name) of every device that an installed engine can see."""
    found = []
    for name in RUNTIMES:
        try:
            module = importlib.import_module(f"f2edge.runtimes.{name}")
        except MissingExtraError:
            continue
        found += [(name, device, full_name) for device, full_name in module.devices()]
    return found
