"""Parse the device of each component: ``GPU``, or ``vision=GPU,decoder=CPU`` with the others on the default."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from f2edge.bundle.manifest import COMPONENTS
from f2edge.errors import DeviceError
from f2edge.lines import shown
from f2edge.numbers import is_whole

_NEXT = re.compile(r",(?=\s*\w+\s*=)")
"""A comma before ``component=``; others belong to a device's name, as in ``AUTO:GPU,CPU``."""


@dataclass(frozen=True)
class Placement:
    """The device of each component, by the name that the engine gives it, and the number of threads.

    Args:
        vision: the device of the vision tower.
        encoder: the device of the text encoder.
        decoder: the device of the decoder.
        threads: CPU threads of each worker; None lets the engine choose.
        workers: how many answers may be computed at the same time.
    """

    vision: str
    encoder: str
    decoder: str
    threads: int | None = None
    workers: int = 1

    @property
    def all_threads(self) -> int | None:
        """The CPU threads of all workers together; None lets the engine choose."""
        return self.threads and self.threads * self.workers

    @classmethod
    def on(cls, device: str, threads: int | None = None) -> Placement:
        """Place everything on one device."""
        return cls(device, device, device, threads)

    def __str__(self) -> str:
        """Return the text that :func:`parse_placement` reads."""
        devices = self.devices()
        if len(set(devices.values())) == 1:
            return self.vision
        return ",".join(f"{component}={device}" for component, device in devices.items())

    def devices(self) -> dict[str, str]:
        """Return the device of each component."""
        return {component: getattr(self, component) for component in COMPONENTS}

    def with_device(self, component: str, device: str) -> Placement:
        """Return the placement with one component on another device."""
        return replace(self, **{component: device})  # type: ignore[arg-type]

    def only_device(self, engine: str) -> str:
        """Return the one device of all components.

        Raises:
            DeviceError: they differ, which the engine does not support.
        """
        if len(devices := set(self.devices().values())) > 1:
            raise DeviceError(f"{engine} runs all components on one device, not on {', '.join(sorted(devices))}")
        return self.vision


def parse_placement(text: str | None, default: str, threads: int | None = None) -> Placement:
    """Parse a device, or devices of components.

    Args:
        text: a device, or ``component=device`` for some components; None or "" for the default.
        default: the device that the bundle was compiled for.
        threads: see :class:`Placement`.

    Raises:
        DeviceError: a component is unknown or named twice, a device has no name, or ``threads`` is not a whole number
            of at least 1.
    """
    if threads is not None and (not is_whole(threads) or threads < 1):
        raise DeviceError(f"`threads` is {shown(threads)}; it must be a whole number of at least 1")
    if text is not None and not isinstance(text, str):
        raise DeviceError(f"`device` is {shown(text)}; give a name, such as CPU")
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
    """Return the name of a device in capitals, as engines write it."""
    if not name.strip():
        raise DeviceError(f"device {text}: a name is missing; f2edge devices lists what is here")
    return name.strip().upper()
