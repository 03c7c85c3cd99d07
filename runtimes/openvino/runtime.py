"""OpenVINO: the decoder is stateful, its self-attention keys and values never leave the engine."""

from __future__ import annotations

from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.bundle.writing import MANIFEST
from f2edge.decoding.session import StepScores
from f2edge.errors import DeviceError, MissingExtraError
from f2edge.runtimes.openvino.devices import WEIGHTS, describe
from f2edge.runtimes.openvino.devices import missing as absent
from f2edge.runtimes.openvino.pages import release_mapped_pages

try:
    import openvino as ov

    from f2edge.runtimes.openvino.bf16 import to_fp32
    from f2edge.runtimes.openvino.loading import compile_graphs, last_line
except ImportError as error:
    raise MissingExtraError("openvino", "openvino") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.manifest import Bundle
    from f2edge.engine import Features
    from f2edge.placement import Placement
    from f2edge.runtimes.device import Device
    from f2edge.targets import Compute, Precision


def open_runtime(bundle: Bundle, placement: Placement) -> OpenVINORuntime:
    """Load a bundle's graphs where they shall run; see :func:`load_graphs`."""
    manifest = bundle.path / MANIFEST  # which a bundle that is being made does not have yet
    graphs = {name: bundle.file(name) for name in bundle.components}
    compute = {name: component.compute for name, component in bundle.components.items()}
    decoder = bundle.components["decoder"].precision
    return load_graphs(graphs, placement, manifest if manifest.is_file() else None, compute, decoder)


def load_graphs(
    graphs: Mapping[str, Path],
    placement: Placement,
    manifest: Path | None = None,
    compute: Mapping[str, Compute] = MappingProxyType({}),
    decoder: Precision = "fp32",
) -> OpenVINORuntime:
    """Compile graphs (``.xml``), by component, for the devices ("CPU", "GPU", "NPU", "AUTO", ...) of a placement.

    Args:
        graphs: their files.
        placement: the device of each.
        manifest: of the bundle they are from, by which what is compiled is cached.
        compute: what a processor computes each component's float operations in; fp32 unless it says otherwise.
        decoder: what the decoder's weights are stored in.

    Raises:
        DeviceError: there is no such device, or it cannot take the graphs.
    """
    compiled = compile_graphs(graphs, placement, manifest, compute, decoder)
    weights = {name: _MappedWeights(path.with_name(WEIGHTS)) for name, path in graphs.items()}
    weights["vision"].release_once()  # graphs of fixed shapes are laid out by now, the others when they first run
    return OpenVINORuntime(compiled, str(placement), weights)


class _MappedWeights:
    """A file whose weights the engine copies into the layout that its kernels want; then its pages are not needed."""

    def __init__(self, path: Path) -> None:
        self._path: Path | None = path

    def release_once(self) -> None:
        if self._path is not None:
            release_mapped_pages(self._path)
            self._path = None


@contextmanager
def _translated() -> Iterator[None]:
    """The engine's errors, a request that another thread is using among them, as ours."""
    try:
        yield
    except RuntimeError as error:
        raise DeviceError(f"OpenVINO failed while running: {last_line(error)}") from error


def devices() -> list[Device]:
    """List the devices that OpenVINO sees."""
    core = ov.Core()
    return [describe(core, name) for name in core.available_devices]


def missing() -> list[str]:
    """A line for each kind of device that OpenVINO does not see."""
    return absent(ov.Core())


class OpenVINORuntime:
    """The contract of :class:`f2edge.engine.Runtime` over three compiled models."""

    def __init__(self, compiled: dict[str, Any], device: str, weights: dict[str, _MappedWeights]) -> None:
        self.device = device
        self._compiled = compiled
        self._weights = weights
        self._vision = compiled["vision"].create_infer_request()
        self._encoder = compiled["encoder"].create_infer_request()

    @property
    def threads(self) -> int | None:
        """Threads of the CPU plugin; other devices have no such number."""
        try:
            return int(self._compiled["vision"].get_property("INFERENCE_NUM_THREADS"))
        except RuntimeError:
            return None

    @_translated()
    def encode_image(self, pixel_values: FloatArray) -> Features:
        """Pixels (1, 3, H, W) to image features, a tensor that outlives the next picture."""
        self._vision.set_output_tensor(ov.Tensor(ov.Type.f32, self._compiled["vision"].output(0).shape))
        _set(self._vision, {"pixel_values": pixel_values})
        _run(self._vision)
        features = self._vision.get_output_tensor(0)
        # The tower's maps, 137 MB at base size, are not needed while the answer is decoded; to take them anew for
        # the next picture costs 2 % of its time.
        self._compiled["vision"].release_memory()
        return features

    @_translated()
    def start(self, features: Features, prompt_ids: IntArray) -> OpenVINOSession:
        """Run the encoder; its outputs become the decoder's inputs without a copy."""
        tokens = features.shape[1] + len(prompt_ids)
        cross = {}
        for port in self._compiled["encoder"].outputs:
            shape = [tokens if size.is_dynamic else size.get_length() for size in port.partial_shape]
            tensor = ov.Tensor(port.element_type, ov.Shape(shape))
            self._encoder.set_tensor(port, tensor)
            cross[port.get_any_name()] = tensor
        _set(self._encoder, {"image_features": features, "input_ids": prompt_ids[None]})
        _run(self._encoder)
        self._weights["encoder"].release_once()
        parts = [self._compiled[part] for part in ("decoder", "head") if part in self._compiled]
        requests = [part.create_infer_request() for part in parts]
        return OpenVINOSession(requests, cross, self._weights["decoder"])

    def features_to_host(self, features: Features) -> FloatArray:
        """A copy as an array."""
        return np.array(features.data)

    def features_from_host(self, features: FloatArray) -> Features:
        """A tensor over a copy of the array."""
        return ov.Tensor(np.ascontiguousarray(features))


class OpenVINOSession:
    """One answer being decoded; the first infer request holds the keys and values of its beams.

    Where there are two, the last one has the decoder's head.
    """

    def __init__(self, requests: list[Any], cross: dict[str, Any], weights: _MappedWeights) -> None:
        self._requests = requests
        self._cross = cross
        self._weights = weights
        self._index_type = requests[0].get_tensor("beam_idx").data.dtype  # 32 bits where the attention is fused
        self._inputs: dict[str, IntArray] = {}
        self._bind("position", np.zeros(1, np.int64))
        for name, tensor in cross.items():
            requests[0].set_tensor(name, tensor)

    def _bind(self, name: str, array: IntArray) -> None:
        self._inputs[name] = array
        self._requests[0].set_tensor(name, ov.Tensor(array, shared_memory=True))

    def _make_room(self, beams: int) -> None:
        """Bind what the inputs are written to, once for a number of beams: at every step it would cost 0.1 ms."""
        self._bind("input_ids", np.empty(beams, np.int64))
        self._bind("beam_idx", np.empty(beams, self._index_type))
        layers, *heads = self._requests
        for head in heads:
            states = ov.Tensor(ov.Type.f32, ov.Shape([beams, head.model_inputs[0].partial_shape[1].get_length()]))
            layers.set_output_tensor(states)
            head.set_input_tensor(states)

    @_translated()
    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens, reorder the state, and give the scores of the next ones."""
        if len(self._inputs.get("input_ids", ())) != len(tokens):
            self._make_room(len(tokens))
        self._inputs["input_ids"][:] = tokens
        self._inputs["beam_idx"][:] = beam_indices
        for request in self._requests:
            _run(request)
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
        """Copies of the cross-attention's keys and values."""
        shapes = {port.get_any_name(): port.partial_shape for port in self._requests[0].model_inputs}
        values = {name: to_fp32(tensor) for name, tensor in self._cross.items()}
        # keys are (1, heads, head_dim, tokens) but in graphs of fixed shapes
        return [array.swapaxes(2, 3) if shapes[name][3].is_dynamic else array for name, array in values.items()]


def _set(request: Any, inputs: dict[str, Any]) -> None:
    for name, value in inputs.items():
        request.set_tensor(name, value if isinstance(value, ov.Tensor) else ov.Tensor(np.ascontiguousarray(value)))


def _run(request: Any) -> None:
    request.infer(share_outputs=True)  # or every output is copied into an array that nobody asked for
