"""Run a bundle with ONNX Runtime, the portable engine, on the CPU or on NVIDIA GPUs.

I/O binding keeps keys and values in the memory of the device between steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.stopping import NEVER
from f2edge.errors import DeviceError, MissingExtraError
from f2edge.machine import cpu_name, default_threads, has_vnni, instruction_sets, memory_mib
from f2edge.placement import Placement
from f2edge.runtimes.batches import MASK, mask
from f2edge.runtimes.device import Device

try:
    import onnxruntime as ort

    from f2edge.runtimes.onnxruntime import cuda
    from f2edge.runtimes.onnxruntime.graph import first_line
    from f2edge.runtimes.onnxruntime.loading import CPU, open_graph, options_for
    from f2edge.runtimes.onnxruntime.session import OnnxBatchSession, OnnxSession, together
except ImportError as error:
    raise MissingExtraError("onnxruntime", "onnx") from error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.manifest import Bundle
    from f2edge.decoding.stopping import StopSignal
    from f2edge.engine import Features
    from f2edge.runtimes.onnxruntime.graph import Graph


def open_runtime(bundle: Bundle, placement: Placement) -> OnnxRuntime:
    """Load a bundle's graphs on the CPU, or on NVIDIA GPUs.

    Raises:
        DeviceError: a component is placed on a device that is not here or does not run it, or ONNX Runtime cannot load
            a graph.
    """
    for component, device in placement.devices().items():
        check_placed(device, component, bundle)
    graphs = {name: bundle.file(name) for name in bundle.components}
    return load_graphs(graphs, placement=placement, unsigned_weights=not has_vnni())


def check_placed(device: str, component: str, bundle: Bundle) -> None:
    """Refuse a device that is not here, or that does not run a component.

    Raises:
        DeviceError: one of these is so.
    """
    if cuda.is_gpu(device):
        cuda.check_device(device, component, bundle)
    elif device != CPU:
        here = ", ".join(each.device for each in devices())
        raise DeviceError(
            f"the ONNX Runtime engine has no device {device}; it has: {here}; `device` CPU runs the bundle"
        )


def load_graphs(
    graphs: Mapping[str, Path], placement: Placement | None = None, *, unsigned_weights: bool = False
) -> OnnxRuntime:
    """Load the graphs of the three components, from a bundle or from an export.

    Args:
        graphs: the file (``.onnx``) of each component.
        placement: the devices; by default the CPU, with the threads that the machine and its quotas leave to this
            process.
        unsigned_weights: turn the INT8 weights of the tower and the encoder of a bundle into unsigned ones where
            products of signed ones saturate.

    Raises:
        DeviceError: ONNX Runtime cannot load a graph, or cannot use a GPU.
    """
    placement = placement or Placement.on(CPU)
    threads, places = placement.threads or default_threads(), placement.devices()
    if any(map(cuda.is_gpu, places.values())):
        cuda.load_libraries()
    loaded = {}
    for name, path in graphs.items():
        options = options_for(name, threads, placement.workers, unsigned_weights=unsigned_weights)
        try:
            loaded[name] = open_graph(path, options, places[name])
        except DeviceError:
            raise
        except Exception as error:
            raise DeviceError(f"ONNX Runtime cannot load the graphs in {path.parent}: {first_line(error)}") from error
    return OnnxRuntime(loaded, str(placement), threads if CPU in places.values() else None)


def devices() -> list[Device]:
    """List the devices of this engine: the CPU, and NVIDIA's GPUs if this build of ONNX Runtime runs on them."""
    name = f"ONNX Runtime {ort.__version__}, {cpu_name()}"
    cpu = Device("onnxruntime", CPU, name, memory_mib=memory_mib(), instruction_sets=instruction_sets())
    return [cpu, *cuda.devices()]


def missing() -> list[str]:
    """Say what to install if there is a GPU that is not listed, or a build of ONNX Runtime for GPUs that sees none."""
    return cuda.missing()


class OnnxRuntime:
    """The contract of :class:`f2edge.engine.Runtime` over ONNX Runtime's sessions.

    Every value is made in the memory where it is needed: image features where the encoder runs, and keys and values
    where the decoder runs.

    Args:
        graphs: one for each component.
        device: the device or devices of the components.
        threads: the number of CPU threads that they compute with; None if no component is on the CPU.
    """

    def __init__(self, graphs: dict[str, Graph], device: str, threads: int | None) -> None:
        self._vision, self._encoder, self._decoder = (graphs[name] for name in ("vision", "encoder", "decoder"))
        self.device = device
        self.threads = threads
        self.takes_batches = _takes_batches(self._decoder.session)

    def encode_image(self, pixel_values: FloatArray, signal: StopSignal = NEVER) -> Features:
        """Encode pixels (1, 3, H, W) into image features."""
        inputs = {"pixel_values": self._vision.memory.value(pixel_values)}
        return self._vision.run(inputs, self._encoder.memory, signal)["image_features"]

    def start(self, features: Features, prompt_ids: IntArray, signal: StopSignal = NEVER) -> OnnxSession:
        """Encode image features and a prompt (tokens,); the outputs become inputs of the decoder without a copy."""
        cross = self._cross_of(features, prompt_ids, signal)
        if self.takes_batches:
            cross[MASK] = self._decoder.memory.value(mask([features.shape()[1] + len(prompt_ids)]))
        return OnnxSession(self._decoder, cross)

    def start_many(
        self, questions: Sequence[tuple[Features, IntArray]], signal: StopSignal = NEVER
    ) -> OnnxBatchSession:
        """Encode several questions one after the other, and copy what the decoder needs of them into one array each."""
        lengths = [features.shape()[1] + len(prompt_ids) for features, prompt_ids in questions]
        parts = [self._cross_of(features, prompt_ids, signal) for features, prompt_ids in questions]
        memory = self._decoder.memory
        cross = {name: together([part[name] for part in parts], memory) for name in parts[0]}
        return OnnxBatchSession(self._decoder, cross | {MASK: memory.value(mask(lengths))})

    def _cross_of(self, features: Features, prompt_ids: IntArray, signal: StopSignal) -> dict[str, ort.OrtValue]:
        """Run the encoder; return keys and values of the cross-attention, in graphs of fixed shapes also their mask."""
        inputs = {"image_features": features, "input_ids": self._encoder.memory.value(prompt_ids[None])}
        return self._encoder.run(inputs, self._decoder.memory, signal)

    def features_to_host(self, features: Features) -> FloatArray:
        """Copy image features to an array (1, tokens, d_model)."""
        return np.array(features.numpy())

    def features_from_host(self, features: FloatArray) -> Features:
        """Wrap an array (1, tokens, d_model) in a value of ONNX Runtime; copy it if the encoder runs on a GPU."""
        return self._encoder.memory.value(features)


def _takes_batches(decoder: ort.InferenceSession) -> bool:
    """Tell whether a decoder was compiled for several questions; fixed shapes and older bundles were not."""
    return any(value.name == MASK and value.shape[0] != 1 for value in decoder.get_inputs())
