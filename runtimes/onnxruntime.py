"""ONNX Runtime: the portable engine.  Keys and values stay in its memory from step to step (I/O binding)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.decoding.session import StepScores
from f2edge.errors import DeviceError, MissingExtraError
from f2edge.machine import cpu_name, memory_mib
from f2edge.runtimes.device import Device

try:
    import onnxruntime as ort
except ImportError as error:
    raise MissingExtraError("onnxruntime", "onnx") from error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.manifest import Bundle
    from f2edge.engine import Features
    from f2edge.placement import Placement

_ERRORS_ONLY = 3


def open_runtime(bundle: Bundle, placement: Placement) -> OnnxRuntime:
    """Load a bundle's graphs; the only device of this runtime is "CPU".

    Raises:
        DeviceError: another device, or graphs that ONNX Runtime cannot load.
    """
    for device in placement.devices().values():
        if device != "CPU":
            raise DeviceError(f"the ONNX Runtime engine has no device {device}; it has: CPU")
    return load_graphs({name: bundle.file(name) for name in bundle.components}, placement.threads)


def load_graphs(graphs: Mapping[str, Path], threads: int | None = None) -> OnnxRuntime:
    """Load graphs by component, from a bundle or fresh from the export.

    Args:
        graphs: their files.
        threads: to compute with; by default one for each physical core.

    Raises:
        DeviceError: ONNX Runtime cannot load one.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads or 0
    try:
        sessions = {
            name: ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for name, path in graphs.items()
        }
    except Exception as error:
        where = graphs["vision"].parent
        raise DeviceError(f"ONNX Runtime cannot load the graphs in {where}: {_first_line(error)}") from error
    return OnnxRuntime(sessions, threads)


def devices() -> list[Device]:
    """List the devices of this engine: the CPU."""
    name = f"ONNX Runtime {ort.__version__}, {cpu_name()}"
    return [Device("onnxruntime", "CPU", name, memory_mib=memory_mib())]


def missing() -> list[str]:
    """Nothing: it needs no driver."""
    return []


class OnnxRuntime:
    """The contract of :class:`f2edge.engine.Runtime` over three sessions."""

    device = "CPU"

    def __init__(self, sessions: dict[str, Any], threads: int | None) -> None:
        self._sessions = sessions
        self.threads = threads

    def encode_image(self, pixel_values: FloatArray) -> Features:
        """Pixels (1, 3, H, W) to image features."""
        return _run(self._sessions["vision"], {"pixel_values": _value(pixel_values)})["image_features"]

    def start(self, features: Features, prompt_ids: IntArray) -> OnnxSession:
        """Run the encoder; its outputs become the decoder's inputs without a copy."""
        inputs = {"image_features": features, "input_ids": _value(prompt_ids[None])}
        return OnnxSession(self._sessions["decoder"], _run(self._sessions["encoder"], inputs))

    def features_to_host(self, features: Features) -> FloatArray:
        """A copy as an array."""
        return np.array(features.numpy())

    def features_from_host(self, features: FloatArray) -> Features:
        """A value over the array."""
        return _value(features)


class OnnxSession:
    """One answer being decoded."""

    def __init__(self, session: Any, cross: dict[str, Any]) -> None:
        self._session = session
        self._cross = cross
        self._past = {i.name: _empty(i.shape) for i in session.get_inputs() if i.name.startswith("past.")}
        self._position = 0

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens, reorder what they saw, and give the scores of the next ones."""
        outputs = _run(self._session, self._inputs(tokens, beam_indices))
        self._past = {name: outputs[name.replace("past.", "present.")] for name in self._past}
        self._position += 1
        return StepScores(
            token_ids=outputs["candidate_ids"].numpy(),
            logits=outputs["candidate_logits"].numpy(),
            log_sum_exp=outputs["log_sum_exp"].numpy(),
            fetch_logits=outputs["logits"].numpy,
        )

    def inputs(self, tokens: IntArray, beam_indices: IntArray) -> dict[str, FloatArray | IntArray]:
        """Copies of all that the graph would be given for this step, by name; no step is taken."""
        return {name: np.array(value.numpy()) for name, value in self._inputs(tokens, beam_indices).items()}

    def _inputs(self, tokens: IntArray, beam_indices: IntArray) -> dict[str, Any]:
        fresh = {
            "input_ids": _value(tokens),
            "position": _value(np.array([self._position])),
            "beam_idx": _value(beam_indices),
        }
        return fresh | self._cross | self._past

    def cross_key_values(self) -> list[FloatArray]:
        """Copies of the cross-attention's keys and values."""
        return [np.array(value.numpy()) for value in self._cross.values()]


def _run(session: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """All outputs by name, in the engine's memory."""
    names = [output.name for output in session.get_outputs()]
    binding = session.io_binding()
    try:
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name in names:
            binding.bind_output(name)
        session.run_with_iobinding(binding)
    except Exception as error:
        raise DeviceError(f"ONNX Runtime failed while running: {_first_line(error)}") from error
    return dict(zip(names, binding.get_outputs(), strict=True))


def _value(array: FloatArray | IntArray) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _empty(shape: list[Any]) -> Any:
    """Keys or values before the first token: a size that has a name instead of a number is beams or past length."""
    beams, heads, length, width = shape
    sizes = (beams if isinstance(beams, int) else 1, heads, length if isinstance(length, int) else 0, width)
    return _value(np.zeros(sizes, np.float32))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
