"""One device that an engine can run on, in the same record for every engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """A device as one engine sees it.

    Args:
        runtime: the engine: "openvino", "onnxruntime" or "tensorrt".
        device: the engine's name for the device, such as "CPU", "GPU.1" or "CUDA".
        name: the maker's name for it.
        driver: the version of its driver; empty if it needs none or the engine does not report it.
        memory_mib: memory in MiB, of the whole machine for a CPU; None if the engine does not report it.
        capabilities: data types and features it supports, in the engine's words.
        instruction_sets: those of a CPU that decide which precision is fast (:func:`f2edge.machine.instruction_sets`).
    """

    runtime: str
    device: str
    name: str
    driver: str = ""
    memory_mib: int | None = None
    capabilities: tuple[str, ...] = ()
    instruction_sets: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """Device, name and driver in one line: what was measured or compiled here is valid while they are the same."""
        return f"{self.device} {self.name} {self.driver}"
