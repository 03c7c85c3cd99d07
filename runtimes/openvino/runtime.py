"""Run a bundle with OpenVINO.

The decoder is stateful: keys and values of its self-attention never leave the engine.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Condition
from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.session import StepScores
from f2edge.decoding.stopping import NEVER, POLL_SECONDS
from f2edge.errors import DeviceError, MissingExtraError
from f2edge.runtimes.batches import MASK, lengths_of, mask, put_together, without_filling
from f2edge.runtimes.openvino.devices import WEIGHTS, describe
from f2edge.runtimes.openvino.devices import missing as missing_devices
from f2edge.runtimes.openvino.pages import release_mapped_pages

try:
    import openvino as ov

    from f2edge.runtimes.openvino.bf16 import to_fp32
    from f2edge.runtimes.openvino.decoders import leave_at_end
    from f2edge.runtimes.openvino.loading import LoadPlan, compile_graphs, last_line
except ImportError as error:
    raise MissingExtraError("openvino", "openvino") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.manifest import Bundle
    from f2edge.decoding.stopping import StopSignal
    from f2edge.engine import Features
    from f2edge.placement import Placement
    from f2edge.runtimes.device import Device


_POLL_MS = round(POLL_SECONDS * 1000)


def open_runtime(bundle: Bundle, placement: Placement) -> OpenVINORuntime:
    """Compile a bundle's graphs for the devices of a placement.

    Raises:
        DeviceError: OpenVINO does not see a device, or cannot compile a graph for it.
    """
    return OpenVINORuntime(LoadPlan.of(bundle, placement))


def devices() -> list[Device]:
    """List the devices that OpenVINO sees."""
    core = ov.Core()
    return [describe(core, name) for name in core.available_devices]


def missing() -> list[str]:
    """Say what to install for each kind of device that OpenVINO does not see, one line each."""
    return missing_devices(ov.Core())


class _MappedWeights:
    """A mapped file of weights, which the engine copies into the layout of its kernels when it first needs them."""

    def __init__(self, path: Path) -> None:
        self._path: Path | None = path

    def release_once(self) -> None:
        """Give the file's pages back to the system; later calls do nothing."""
        path, self._path = self._path, None
        if path is not None:
            release_mapped_pages(path)


@contextmanager
def translated() -> Iterator[None]:
    """Raise OpenVINO's errors as DeviceError."""
    try:
        yield
    except RuntimeError as error:
        raise DeviceError(f"OpenVINO failed while running: {last_line(error)}") from error


class _Requests:
    """Infer requests that threads take turns to use.

    Args:
        model: the compiled model to make them of.
        count: how many threads may use one at the same time.
        releases: give the memory of the model's feature maps back to the system whenever no request is used.
    """

    def __init__(self, model: ov.CompiledModel, count: int, *, releases: bool = False) -> None:
        self._model = model
        self._count = count
        self._releases = releases
        self._idle = [model.create_infer_request() for _ in range(count)]
        self._changed = Condition()

    @contextmanager
    def turn(self) -> Iterator[ov.InferRequest]:
        """Wait until a request is free, and hand it out; set all its inputs and outputs."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle)
            request = self._idle.pop()
        try:
            yield request
        finally:
            self._put_back(request)

    def _put_back(self, request: ov.InferRequest) -> None:
        with self._changed:
            self._idle.append(request)
            if self._releases and len(self._idle) == self._count:
                self._model.release_memory()
            self._changed.notify()


class OpenVINORuntime:
    """The contract of :class:`f2edge.engine.Runtime` over compiled models.

    Args:
        plan: what to compile, and for which devices.

    Raises:
        DeviceError: OpenVINO does not see a device, or cannot compile a graph for it.
    """

    def __init__(self, plan: LoadPlan) -> None:
        self.device = str(plan.placement)
        self._compiled = compile_graphs(plan)
        if plan.decoder_key:
            leave_at_end(self, plan.decoder_key, self._compiled["decoder"])
        self._weights = {name: _MappedWeights(path.with_name(WEIGHTS)) for name, path in plan.graphs.items()}
        self._weights["vision"].release_once()  # graphs of fixed shapes are laid out by now, others at their first run
        workers = plan.placement.workers
        # The tower's feature maps, 137 MB at base size, are not needed while the answer is decoded.  Allocating them
        # again for the next image takes 2 % of its time.
        self._vision = _Requests(self._compiled["vision"], workers, releases=True)
        self._encoder = _Requests(self._compiled["encoder"], workers)
        self._workers = workers
        self.takes_batches = _takes_batches(self._compiled["decoder"])

    @property
    def threads(self) -> int | None:
        """Number of threads of the CPU plugin for each worker; None on other devices."""
        try:
            return int(self._compiled["vision"].get_property("INFERENCE_NUM_THREADS")) // self._workers
        except RuntimeError:
            return None

    @translated()
    def encode_image(self, pixel_values: FloatArray, signal: StopSignal = NEVER) -> Features:
        """Encode pixels (1, 3, H, W) into a tensor that later calls do not change."""
        features = ov.Tensor(ov.Type.f32, self._compiled["vision"].output(0).shape)
        with self._vision.turn() as request:
            request.set_output_tensor(features)
            _set_tensors(request, {"pixel_values": pixel_values})
            _infer(request, signal)
        return features

    @translated()
    def start(self, features: Features, prompt_ids: IntArray, signal: StopSignal = NEVER) -> OpenVINOSession:
        """Encode image features and a prompt (tokens,); the outputs become inputs of the decoder without a copy."""
        cross = self._cross_of(features, prompt_ids, signal)
        if self.takes_batches:
            cross[MASK] = ov.Tensor(mask([features.shape[1] + len(prompt_ids)]))
        return OpenVINOSession(self._requests(), cross, self._weights["decoder"])

    @translated()
    def start_many(
        self, questions: Sequence[tuple[Features, IntArray]], signal: StopSignal = NEVER
    ) -> OpenVINOBatchSession:
        """Encode several questions one after the other, and copy keys and values into one tensor each."""
        lengths = [features.shape[1] + len(prompt_ids) for features, prompt_ids in questions]
        parts = [self._cross_of(features, prompt_ids, signal) for features, prompt_ids in questions]
        cross = {name: _together([part[name] for part in parts], _states_axis(name)) for name in parts[0]}
        return OpenVINOBatchSession(
            self._requests(), cross | {MASK: ov.Tensor(mask(lengths))}, self._weights["decoder"]
        )

    def _cross_of(self, features: Features, prompt_ids: IntArray, signal: StopSignal) -> dict[str, ov.Tensor]:
        """Run the encoder; return keys and values of the cross-attention, in graphs of fixed shapes also their mask."""
        tokens = features.shape[1] + len(prompt_ids)
        cross = {}
        for port in self._compiled["encoder"].outputs:
            shape = [tokens if size.is_dynamic else size.get_length() for size in port.partial_shape]
            cross[port.get_any_name()] = ov.Tensor(port.element_type, ov.Shape(shape))
        with self._encoder.turn() as request:
            _set_tensors(request, {"image_features": features, "input_ids": prompt_ids[None], **cross})
            _infer(request, signal)
        self._weights["encoder"].release_once()
        return cross

    def _requests(self) -> list[ov.InferRequest]:
        """Make one infer request for each part of the decoder."""
        parts = [self._compiled[part] for part in ("decoder", "head") if part in self._compiled]
        return [part.create_infer_request() for part in parts]

    def features_to_host(self, features: Features) -> FloatArray:
        """Copy image features to an array (1, tokens, d_model)."""
        return np.array(features.data)

    def features_from_host(self, features: FloatArray) -> Features:
        """Copy an array (1, tokens, d_model) to a tensor."""
        return ov.Tensor(np.ascontiguousarray(features))


class OpenVINOSession:
    """One answer that is being decoded.

    Args:
        requests: infer requests of the decoder's parts.  The first one has the layers and holds the keys and values of
            the beams; if there is a second one, it has the head.
        cross: keys, values and, in graphs of fixed shapes, the mask of the cross-attention, by input.
        weights: the decoder's.
    """

    def __init__(self, requests: list[ov.InferRequest], cross: dict[str, ov.Tensor], weights: _MappedWeights) -> None:
        self._requests = requests
        self._weights = weights
        self._index_type = requests[0].get_tensor("beam_idx").data.dtype  # int32 if the attention is fused
        self._inputs: dict[str, IntArray] = {}
        self._bind("position", np.zeros(1, np.int64))
        self._bind_cross(cross)

    def _bind_cross(self, cross: dict[str, ov.Tensor]) -> None:
        self._cross = cross
        for name, tensor in cross.items():
            self._requests[0].set_tensor(name, tensor)

    def _bind(self, name: str, array: IntArray) -> None:
        self._inputs[name] = array
        self._requests[0].set_tensor(name, ov.Tensor(array, shared_memory=True))

    def _make_room(self, beams: int) -> None:
        """Bind inputs for a number of beams; to do so at every step would cost 0.1 ms each time."""
        self._bind("input_ids", np.empty(beams, np.int64))
        self._bind("beam_idx", np.empty(beams, self._index_type))
        layers, *heads = self._requests
        for head in heads:
            states = ov.Tensor(ov.Type.f32, ov.Shape([beams, head.model_inputs[0].partial_shape[1].get_length()]))
            layers.set_output_tensor(states)
            head.set_input_tensor(states)

    @translated()
    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens (beams,), reorder the state by ``beam_indices``, and score the next tokens."""
        if len(self._inputs.get("input_ids", ())) != len(tokens):
            self._make_room(len(tokens))
        self._inputs["input_ids"][:] = tokens
        self._inputs["beam_idx"][:] = beam_indices
        for request in self._requests:
            _infer(request)
        self._inputs["position"] += 1
        self._weights.release_once()
        output = self._requests[-1].get_tensor
        return StepScores(
            token_ids=output("candidate_ids").data.copy(),
            logits=output("candidate_logits").data.copy(),
            log_sum_exp=output("log_sum_exp").data.copy(),
            fetch_logits=lambda: output("logits").data,
        )

    def cross_key_values(self) -> list[FloatArray]:
        """Copy the cross-attention's keys and values, each (1, heads, tokens, head_dim); fixed shapes add a mask."""
        shapes = {port.get_any_name(): port.partial_shape for port in self._requests[0].model_inputs}
        given = {name: tensor for name, tensor in self._cross.items() if name != MASK or shapes[name].is_static}
        # in graphs of dynamic shapes keys are (1, heads, head_dim, tokens)
        return [
            to_fp32(tensor).swapaxes(2, 3) if shapes[name][3].is_dynamic else to_fp32(tensor)
            for name, tensor in given.items()
        ]


class OpenVINOBatchSession(OpenVINOSession):
    """The answers to several questions that are being decoded together."""

    def keep(self, questions: IntArray) -> None:
        """Go on with some of the questions: copy their keys and values, without what filled up the longest ones."""
        lengths = lengths_of(self._cross[MASK].data)[questions]
        kept = {
            name: _tensor_like(tensor, without_filling(tensor.data, questions, _states_axis(name), int(lengths.max())))
            for name, tensor in self._cross.items()
            if name != MASK
        }
        self._bind_cross(kept | {MASK: ov.Tensor(mask(lengths))})


def _takes_batches(decoder: ov.CompiledModel) -> bool:
    """Tell whether a decoder was compiled for several questions; fixed shapes and older bundles were not."""
    return any(port.get_any_name() == MASK and port.partial_shape.is_dynamic for port in decoder.inputs)


def _states_axis(name: str) -> int:
    """Return the axis of the states in the keys or values of a layer; keys lie in columns."""
    return 3 if name.endswith(".key") else 2


def _together(tensors: Sequence[ov.Tensor], axis: int) -> ov.Tensor:
    """Put keys or values of one question each (1, ...) into one tensor."""
    longest = max(tensors, key=lambda tensor: int(tensor.shape[axis]))
    together = ov.Tensor(longest.element_type, ov.Shape([len(tensors), *longest.shape[1:]]))
    put_together([tensor.data for tensor in tensors], axis, together.data)
    return together


def _tensor_like(tensor: ov.Tensor, array: FloatArray) -> ov.Tensor:
    """Make a tensor of an array that has the element type of another tensor; numpy has no bf16."""
    copy = ov.Tensor(tensor.element_type, ov.Shape(array.shape))
    copy.data[...] = array
    return copy


def _set_tensors(request: ov.InferRequest, tensors: Mapping[str, ov.Tensor | FloatArray | IntArray]) -> None:
    for name, value in tensors.items():
        request.set_tensor(name, value if isinstance(value, ov.Tensor) else ov.Tensor(np.ascontiguousarray(value)))


def _infer(request: ov.InferRequest, signal: StopSignal = NEVER) -> None:
    """Run a graph; a signal stops it between two of its operators.

    Raises:
        StopRequestedError: the signal asked to stop.
    """
    if not signal.possible:
        request.infer(share_outputs=True)  # without it every output is copied into an array that nobody asked for
        return
    signal.raise_if_requested()
    request.start_async()
    while not request.wait_for(_POLL_MS):
        if signal.requested():
            request.cancel()
            break
    try:
        request.wait()
    except RuntimeError:
        signal.raise_if_requested()
        raise
