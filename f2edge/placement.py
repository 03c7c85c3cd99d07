"""Which device each component runs on: ``GPU``, or ``vision=GPU,decoder=CPU`` with the rest on the bundle's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from f2edge.bundle.manifest import COMPONENTS
from f2edge.errors import DeviceError

_NEXT = re.compile(r",(?=\s*\w+\s*=)")
"""A comma before ``component=``; others belong to a device's name, as in ``AUTO:GPU,CPU``."""


@dataclass(frozen=True)
class Placement:
    """The engine's name of a device for each component, and how many threads it may take.

    Args:
        vision: where the tower runs.
        encoder: where the prompt is encoded.
        decoder: where the answer is decoded.
        threads: of the processor; ``None`` leaves them to the engine.
    """

    vision: str
    encoder: str
    decoder: str
    threads: int | None = None

    @classmethod
    def on(cls, device: str, threads: int | None = None) -> Placement:
        """Everything on one device."""
        return cls(device, device, device, threads)

    def __str__(self) -> str:
        """As :func:`parse_placement` reads it."""
        devices = self.devices()
        if len(set(devices.values())) == 1:
            return self.vision
        return ",".join(f"{component}={device}" for component, device in devices.items())

    def devices(self) -> dict[str, str]:
        """The device of each component."""
        return {component: getattr(self, component) for component in COMPONENTS}

    def with_device(self, component: str, device: str) -> Placement:
        """The same with one component elsewhere."""
        return replace(self, **{component: device})  # type: ignore[arg-type]

    def only_device(self, engine: str) -> str:
        """The device of all components.

        Raises:
            DeviceError: they differ, and this engine cannot do that.
        """
        if len(devices := set(self.devices().values())) > 1:
            raise DeviceError(f"{engine} runs all components on one device, not on {', '.join(sorted(devices))}")
        return self.vision


def parse_placement(text: str | None, default: str, threads: int | None = None) -> Placement:
    """What ``--device`` and ``f2edge.load(device=)`` say.

    Args:
        text: a device, or ``component=device`` for some components; nothing for the default.
        default: the device that the bundle was compiled for.
        threads: see :class:`Placement`.

    Raises:
        DeviceError: a component that is not there or named twice, a device without a name, or no thread.
    """
    if threads is not None and threads < 1:
        raise DeviceError(f"threads must be at least 1, not {threads}")
    if text is None or not text.strip():
        return Placement.on(default, threads)
    if "=" not in text:
        return Placement.on(_device(text, text), threads)
    placement, named = Placement.on(default, threads), set[str]()
    for part in _NEXT.split(text):
        component, _, device = part.partition("=")
        component = component.strip().lower()
        if component not in COMPONENTS or component in named:
            fault = "is there twice" if component in named else "is not a component"
            raise DeviceError(f"device {text}: {component!r} {fault}; name some of {', '.join(COMPONENTS)}")
        named.add(component)
        placement = placement.with_device(component, _device(device, text))
    return placement


def _device(name: str, text: str) -> str:
    """Engines write their devices' names in capitals."""
    if not name.strip():
        raise DeviceError(f"device {text}: a name is missing; f2edge devices lists what is here")
    return name.strip().upper()
