"""Pretended NVIDIA GPUs: ONNX Runtime's CPU under their names, which counts what is copied to a GPU and back.

It shows what f2edge asks of ONNX Runtime.  It cannot show that kernels of a GPU compute the right values; tests marked
``gpu`` do that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from f2edge.runtimes.onnxruntime import cuda
from f2edge.runtimes.onnxruntime.driver import Gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pytest
    from numpy.typing import NDArray

PROVIDER = "CUDAExecutionProvider"


@dataclass
class Traffic:
    """What was asked of the GPUs.

    Attributes:
        up: bytes copied to a GPU.
        down: names of the outputs that were copied from a GPU.
        kept: names of the outputs that stayed on it.
        options: what each session was made with.
    """

    up: int = 0
    down: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    options: list[Mapping[str, str]] = field(default_factory=list)


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int = 2, *, loads: bool = True) -> Traffic:
    """Make ONNX Runtime a build with CUDA, and NVIDIA's driver show some GPUs.

    Args:
        monkeypatch: undoes it after the test.
        count: the number of GPUs.
        loads: whether the libraries of CUDA load; without them ONNX Runtime takes the CPU and says nothing.
    """
    traffic = Traffic()
    from_numpy = ort.OrtValue.ortvalue_from_numpy

    class Session(ort.InferenceSession):  # type: ignore[misc]
        on_gpu = False

        def __init__(self, path: Any, options: Any, providers: list[Any], *, enable_fallback: bool = True) -> None:
            first, *_ = providers
            if isinstance(first, tuple):
                assert providers[1:] == ["CPUExecutionProvider"]
                assert not enable_fallback  # it prints errors on stdout and takes the CPU
                traffic.options.append(first[1])
                self.on_gpu = loads
            super().__init__(path, options, providers=["CPUExecutionProvider"])

        def get_providers(self) -> list[str]:
            return [PROVIDER, "CPUExecutionProvider"] if self.on_gpu else ["CPUExecutionProvider"]

        def io_binding(self) -> Any:
            return _Binding(super().io_binding(), traffic, on_gpu=self.on_gpu)

        def run_with_iobinding(self, binding: Any, options: Any = None) -> None:
            super().run_with_iobinding(binding.real, options)

    def value(array: NDArray[np.generic], kind: str = "cpu", _number: int = 0) -> Any:
        traffic.up += array.nbytes if kind == "cuda" else 0
        return from_numpy(array.copy() if kind == "cuda" else array)

    names = ["CUDA", *(f"CUDA.{number}" for number in range(1, count))][:count]
    monkeypatch.setattr(cuda, "list_gpus", lambda: {name: Gpu("Pretended GPU", "CUDA 13.0", 16384) for name in names})
    monkeypatch.setattr(ort, "get_available_providers", lambda: [PROVIDER, "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "cuda_version", "13.0", raising=False)
    monkeypatch.setattr(ort, "InferenceSession", Session)
    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", value)
    return traffic


class _Binding:
    """A binding that leaves on the CPU what is bound to a GPU."""

    def __init__(self, real: Any, traffic: Traffic, *, on_gpu: bool) -> None:
        self.real = real
        self._traffic = traffic
        self._on_gpu = on_gpu
        self.bind_ortvalue_input = real.bind_ortvalue_input
        self.get_outputs = real.get_outputs

    def bind_output(self, name: str, kind: str, _number: int) -> None:
        """Bind an output to the CPU, and note where it was to go; a session on the CPU cannot write to a GPU."""
        assert self._on_gpu or kind == "cpu"
        if self._on_gpu:
            (self._traffic.kept if kind == "cuda" else self._traffic.down).append(name)
        self.real.bind_output(name)
