"""Run a bundle with ONNX Runtime, the portable engine.

I/O binding keeps keys and values in the engine's memory between steps.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.session import StepScores
from f2edge.decoding.stopping import NEVER, StopRequestedError
from f2edge.errors import DeviceError, MissingExtraError
from f2edge.machine import cpu_name, default_threads, has_vnni, instruction_sets, memory_mib
from f2edge.runtimes.batches import MASK, lengths_of, mask, put_together, without_filling
from f2edge.runtimes.device import Device

try:
    import onnxruntime as ort
except ImportError as error:
    raise MissingExtraError("onnxruntime", "onnx") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.manifest import Bundle
    from f2edge.decoding.stopping import StopSignal
    from f2edge.engine import Features
    from f2edge.placement import Placement

_STATES = 2
"""The axis of the states in keys and values of the cross-attention."""
_ERRORS_ONLY = 3
"""ONNX Runtime's log level for errors."""
_SPINNING = "session.intra_op.allow_spinning"
_UNSIGNED_WEIGHTS = "session.x64quantprecision"
"""The setting that turns INT8 weights into unsigned ones while a graph is loaded.  On x86 without VNNI, products of u8
and s8 saturate in 16 bits, and those of u8 and u8 do not; with VNNI they take up to 1.8 times as long.  Other
processors ignore the setting.  ONNX Runtime cannot run a dequantized table without zero points with it: graphs for
other engines have such tables."""


def open_runtime(bundle: Bundle, placement: Placement) -> OnnxRuntime:
    """Load a bundle's graphs on the CPU, the only device of this engine.

    Raises:
        DeviceError: a component is placed on another device, or ONNX Runtime cannot load a graph.
    """
    for device in placement.devices().values():
        if device != "CPU":
            raise DeviceError(
                f"the ONNX Runtime engine has no device {device}; it has: CPU; `device` CPU runs the bundle"
            )
    graphs = {name: bundle.file(name) for name in bundle.components}
    return load_graphs(graphs, placement.threads, placement.workers, unsigned_weights=not has_vnni())


def load_graphs(
    graphs: Mapping[str, Path], threads: int | None = None, workers: int = 1, *, unsigned_weights: bool = False
) -> OnnxRuntime:
    """Load the graphs of the three components, from a bundle or from an export.

    Args:
        graphs: the file (``.onnx``) of each component.
        threads: threads of each worker; None takes what the machine and its quotas leave to this process.
        workers: how many threads of the program run the graphs at the same time.
        unsigned_weights: turn the INT8 weights of the tower and the encoder of a bundle into unsigned ones where
            products of signed ones saturate.

    Raises:
        DeviceError: ONNX Runtime cannot load a graph.
    """
    threads = threads or default_threads()
    try:
        sessions = {
            name: ort.InferenceSession(
                path,
                _options(name, threads, workers, unsigned_weights=unsigned_weights),
                providers=["CPUExecutionProvider"],
            )
            for name, path in graphs.items()
        }
    except Exception as error:
        where = graphs["vision"].parent
        raise DeviceError(f"ONNX Runtime cannot load the graphs in {where}: {_first_line(error)}") from error
    return OnnxRuntime(sessions, threads)


def load_graph(graph: bytes) -> Callable[[Mapping[str, FloatArray | IntArray]], dict[str, FloatArray | IntArray]]:
    """Load one graph of any kind; return a function from its inputs to its outputs, both by name.

    Args:
        graph: the bytes of an ONNX model with all its weights.
    """
    session = ort.InferenceSession(graph, _options("", default_threads()), providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs()]

    def run(tensors: Mapping[str, FloatArray | IntArray]) -> dict[str, FloatArray | IntArray]:
        inputs = {name: tensors[name] for name in names}
        return dict(zip(outputs, session.run(outputs, inputs), strict=True))

    return run


def _options(
    component: str, threads: int | None, workers: int = 1, *, unsigned_weights: bool = False
) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Each run computes in its caller's thread and in those of the session's pool, which counts one caller.
    options.intra_op_num_threads = workers * (threads - 1) + 1 if threads else 0
    if workers > 1:  # threads that spin while they wait would take the cores of the other workers
        options.add_session_config_entry(_SPINNING, "0")
    if unsigned_weights and component != "decoder":  # whose activations are float, so that no product saturates
        options.add_session_config_entry(_UNSIGNED_WEIGHTS, "1")
    return options


def devices() -> list[Device]:
    """List the devices of this engine: the CPU."""
    name = f"ONNX Runtime {ort.__version__}, {cpu_name()}"
    return [Device("onnxruntime", "CPU", name, memory_mib=memory_mib(), instruction_sets=instruction_sets())]


def missing() -> list[str]:
    """Return no advice: a CPU needs no driver."""
    return []


class OnnxRuntime:
    """The contract of :class:`f2edge.engine.Runtime` over ONNX Runtime's sessions.

    Args:
        sessions: one for each component.
        threads: the number of threads they compute with; None if it is ONNX Runtime's choice.
    """

    device = "CPU"

    def __init__(self, sessions: dict[str, ort.InferenceSession], threads: int | None) -> None:
        self._sessions = sessions
        self.threads = threads
        self.takes_batches = _takes_batches(sessions["decoder"])

    def encode_image(self, pixel_values: FloatArray, signal: StopSignal = NEVER) -> Features:
        """Encode pixels (1, 3, H, W) into image features."""
        return _run(self._sessions["vision"], {"pixel_values": _value(pixel_values)}, signal)["image_features"]

    def start(self, features: Features, prompt_ids: IntArray, signal: StopSignal = NEVER) -> OnnxSession:
        """Encode image features and a prompt (tokens,); the outputs become inputs of the decoder without a copy."""
        cross = self._cross_of(features, prompt_ids, signal)
        if self.takes_batches:
            cross[MASK] = _value(mask([features.shape()[1] + len(prompt_ids)]))
        return OnnxSession(self._sessions["decoder"], cross)

    def start_many(
        self, questions: Sequence[tuple[Features, IntArray]], signal: StopSignal = NEVER
    ) -> OnnxBatchSession:
        """Encode several questions one after the other, and copy what the decoder needs of them into one array each."""
        lengths = [features.shape()[1] + len(prompt_ids) for features, prompt_ids in questions]
        parts = [self._cross_of(features, prompt_ids, signal) for features, prompt_ids in questions]
        cross = {name: _together([part[name].numpy() for part in parts]) for name in parts[0]}
        return OnnxBatchSession(self._sessions["decoder"], cross | {MASK: _value(mask(lengths))})

    def _cross_of(self, features: Features, prompt_ids: IntArray, signal: StopSignal) -> dict[str, ort.OrtValue]:
        """Run the encoder; return keys and values of the cross-attention, in graphs of fixed shapes also their mask."""
        inputs = {"image_features": features, "input_ids": _value(prompt_ids[None])}
        return _run(self._sessions["encoder"], inputs, signal)

    def features_to_host(self, features: Features) -> FloatArray:
        """Copy image features to an array (1, tokens, d_model)."""
        return np.array(features.numpy())

    def features_from_host(self, features: FloatArray) -> Features:
        """Wrap an array (1, tokens, d_model) in a value of ONNX Runtime."""
        return _value(features)


class OnnxSession:
    """One answer that is being decoded.

    Args:
        session: the decoder.
        cross: keys and values of the cross-attention, by input.
    """

    def __init__(self, session: ort.InferenceSession, cross: dict[str, ort.OrtValue]) -> None:
        self._session = session
        self._cross = cross
        self._past = {i.name: _empty(i.shape) for i in session.get_inputs() if i.name.startswith("past.")}
        self._position = 0

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens (beams,), reorder the past by ``beam_indices``, and score the next tokens."""
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
        """Copy all inputs that the decoder would be given for a step, by name, without taking the step."""
        return {name: np.array(value.numpy()) for name, value in self._inputs(tokens, beam_indices).items()}

    def _inputs(self, tokens: IntArray, beam_indices: IntArray) -> dict[str, ort.OrtValue]:
        of_this_step = {
            "input_ids": _value(tokens),
            "position": _value(np.array([self._position])),
            "beam_idx": _value(beam_indices),
        }
        return of_this_step | self._cross | self._past

    def cross_key_values(self) -> list[FloatArray]:
        """Copy the cross-attention's keys and values, each (1, heads, tokens, head_dim)."""
        return [np.array(value.numpy()) for name, value in self._cross.items() if name != MASK]


class OnnxBatchSession(OnnxSession):
    """The answers to several questions that are being decoded together."""

    def keep(self, questions: IntArray) -> None:
        """Go on with some of the questions: copy their keys and values, without what filled up the longest ones."""
        # values of arrays do not own their memory: all must live until their copies are made (docs/traps.md)
        lengths = lengths_of(self._cross[MASK].numpy())[questions]
        kept = {
            name: _value(without_filling(value.numpy(), questions, _STATES, int(lengths.max())))
            for name, value in self._cross.items()
            if name != MASK
        }
        self._cross = kept | {MASK: _value(mask(lengths))}


def _takes_batches(decoder: ort.InferenceSession) -> bool:
    """Tell whether a decoder was compiled for several questions; fixed shapes and older bundles were not."""
    return any(value.name == MASK and value.shape[0] != 1 for value in decoder.get_inputs())


def _together(parts: Sequence[FloatArray]) -> ort.OrtValue:
    """Put keys or values of one question each (1, heads, tokens, head_dim) into one array."""
    _, heads, _, width = parts[0].shape
    longest = max(part.shape[_STATES] for part in parts)
    together = np.empty((len(parts), heads, longest, width), np.float32)
    put_together(parts, _STATES, together)
    return _value(together)


def _run(
    session: ort.InferenceSession, inputs: Mapping[str, ort.OrtValue], signal: StopSignal = NEVER
) -> dict[str, ort.OrtValue]:
    """Run a graph and return its outputs by name, in the engine's memory.

    Raises:
        DeviceError: ONNX Runtime failed.
        StopRequestedError: the signal asked to stop.
    """
    names = [output.name for output in session.get_outputs()]
    binding = session.io_binding()
    try:
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name in names:
            binding.bind_output(name)
        with _stopped_by(signal) as options:
            session.run_with_iobinding(binding, options)
    except Exception as error:
        if signal.reason:
            raise StopRequestedError from error
        raise DeviceError(f"ONNX Runtime failed while running: {_first_line(error)}") from error
    return dict(zip(names, binding.get_outputs(), strict=True))


@contextmanager
def _stopped_by(signal: StopSignal) -> Iterator[ort.RunOptions | None]:
    """Yield the options of a run that ends in an error as soon as the signal asks to stop."""
    if not signal.possible:
        yield None
        return
    options, done = ort.RunOptions(), Event()

    def terminate() -> None:
        options.terminate = True

    watcher = Thread(target=signal.watch, args=(done, terminate), daemon=True)
    watcher.start()
    try:
        yield options
    finally:
        done.set()
        watcher.join()


def _value(array: FloatArray | IntArray) -> ort.OrtValue:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _empty(shape: Sequence[int | str]) -> ort.OrtValue:
    """Make keys or values before the first step: one beam and no tokens where the graph leaves these sizes open."""
    beams, heads, length, width = shape
    open_sizes = (beams if isinstance(beams, int) else 1, length if isinstance(length, int) else 0)
    return _value(np.zeros((open_sizes[0], int(heads), open_sizes[1], int(width)), np.float32))


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
