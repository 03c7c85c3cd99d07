"""Loading graphs into ONNX Runtime: the options of its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime as ort

from f2edge.machine import default_threads
from f2edge.runtimes.onnxruntime import cuda
from f2edge.runtimes.onnxruntime.graph import HOST, Graph, Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray

CPU = "CPU"
_PROVIDER = "CPUExecutionProvider"
_ERRORS_ONLY = 3
"""ONNX Runtime's log level for errors."""
_SPINNING = "session.intra_op.allow_spinning"
_UNSIGNED_WEIGHTS = "session.x64quantprecision"
"""The setting that turns INT8 weights into unsigned ones while a graph is loaded.  On x86 without VNNI, products of u8
and s8 saturate in 16 bits, and those of u8 and u8 do not; with VNNI they take up to 1.8 times as long.  Other
processors ignore the setting.  ONNX Runtime cannot run a dequantized table without zero points with it: graphs for
other engines have such tables."""


def open_graph(path: Path, options: ort.SessionOptions, device: str) -> Graph:
    """Load the graph of one component for a device.

    Raises:
        DeviceError: ONNX Runtime took the CPU in place of a GPU.
    """
    if not cuda.is_gpu(device):
        return Graph(ort.InferenceSession(path, options, providers=[_PROVIDER]), HOST)
    # With its own fallback ONNX Runtime would print the error on stdout and take the CPU.
    providers = [cuda.provider(device), _PROVIDER]
    session = ort.InferenceSession(path, options, providers=providers, enable_fallback=False)
    cuda.check_session(session, device)
    return Graph(session, Memory("cuda", cuda.number(device)))


def load_graph(graph: bytes) -> Callable[[Mapping[str, FloatArray | IntArray]], dict[str, FloatArray | IntArray]]:
    """Load one graph of any kind on the CPU; return a function from its inputs to its outputs, both by name.

    Args:
        graph: the bytes of an ONNX model with all its weights.
    """
    session = ort.InferenceSession(graph, options_for("", default_threads()), providers=[_PROVIDER])
    names = {value.name for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]

    def run(tensors: Mapping[str, FloatArray | IntArray]) -> dict[str, FloatArray | IntArray]:
        inputs = {name: tensors[name] for name in names}
        return dict(zip(outputs, session.run(outputs, inputs), strict=True))

    return run


def options_for(
    component: str, threads: int | None, workers: int = 1, *, unsigned_weights: bool = False
) -> ort.SessionOptions:
    """Return the options of a component's session; :func:`f2edge.runtimes.onnxruntime.runtime.load_graphs` has them."""
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Each run computes in its caller's thread and in those of the session's pool, which counts one caller.
    options.intra_op_num_threads = workers * (threads - 1) + 1 if threads else 0
    if workers > 1:  # threads that spin while they wait would take the cores of the other workers
        options.add_session_config_entry(_SPINNING, "0")
    if unsigned_weights and component != "decoder":  # whose activations are float, so that no product saturates
        options.add_session_config_entry(_UNSIGNED_WEIGHTS, "1")
    return options
