"""A pretended NPU: OpenVINO's CPU under another name, with damage if a test asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import openvino as ov
from openvino import opset13 as ops

from f2edge.runtimes.openvino.devices import compile_options

if TYPE_CHECKING:
    from collections.abc import Collection

    import pytest


def pretend_npu(
    monkeypatch: pytest.MonkeyPatch, *, damaged: Collection[str] = (), failing: Collection[str] = (), driver: int = 1
) -> None:
    """Make OpenVINO report an NPU, which computes on the CPU.

    Args:
        monkeypatch: undoes it after the test.
        damaged: components that the NPU runs with a wrong weight.
        failing: components that the NPU cannot compile.
        driver: the version of its driver.
    """

    class Core(ov.Core):  # type: ignore[misc]
        @property
        def available_devices(self) -> list[str]:
            return ["CPU", "NPU"]

        def get_property(self, device: str, name: str) -> Any:
            if device != "NPU":
                return super().get_property(device, name)
            properties = {"FULL_DEVICE_NAME": "Pretended NPU", "NPU_DRIVER_VERSION": driver}
            if name not in properties:
                raise RuntimeError(f"unsupported property {name}")
            return properties[name]

        def read_model(self, path: Path, *rest: Any) -> Any:
            model = super().read_model(path, *rest)
            model.friendly_name = Path(path).stem
            return model

        def compile_model(self, model: Any, device: str, config: dict[str, Any]) -> Any:
            if device != "NPU":
                return super().compile_model(model, device, config)
            opened = self.read_model(model) if isinstance(model, Path) else model
            component = opened.friendly_name
            if component in failing:
                raise RuntimeError(f"Exception from zero_compiler.cpp:746:\n[NPU] cannot compile {component}\n")
            if component in damaged:
                _damage(opened)
            cached = {name: value for name, value in config.items() if name == "CACHE_DIR"}
            return super().compile_model(opened, "CPU", compile_options(component, "CPU", None) | cached)

    monkeypatch.setattr(ov, "Core", Core)


def _damage(model: Any) -> None:
    """Replace the largest constant by half of its values."""
    largest = max((op for op in model.get_ops() if op.get_type_name() == "Constant"), key=lambda op: op.data.nbytes)
    wrong = ops.constant(largest.data * 0.5)
    for port in largest.output(0).get_target_inputs():
        port.replace_source_output(wrong.output(0))
