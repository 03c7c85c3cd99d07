"""Run a bundle with TensorRT: build or load its engines, and encode images and prompts on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.stopping import NEVER
from f2edge.errors import DeviceError, LimitError
from f2edge.runtimes.tensorrt.cache import EngineCache
from f2edge.runtimes.tensorrt.cuda import DeviceMemory, Gpu, Mirror, list_gpus
from f2edge.runtimes.tensorrt.engine import LoadedEngine, Tensor
from f2edge.runtimes.tensorrt.library import load_library, make_log
from f2edge.runtimes.tensorrt.session import DecoderEngine, TensorRTSession

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.manifest import Bundle
    from f2edge.decoding.stopping import StopSignal
    from f2edge.engine import Features
    from f2edge.placement import Placement
    from f2edge.runtimes.device import Device
    from f2edge.runtimes.tensorrt.cache import Engine, Progress


def open_runtime(bundle: Bundle, placement: Placement) -> TensorRTRuntime:
    """Load a bundle's engines, and build those that are not there yet.

    Raises:
        DeviceError: there is no such GPU, components are on different devices, there are several workers, or an engine
            cannot be loaded.
        CompileError: an engine cannot be built.
        MissingExtraError: TensorRT is not installed.
    """
    if placement.workers > 1:
        raise DeviceError(f"`workers` is {placement.workers}; TensorRT computes one answer at a time, so leave it out")
    device = placement.only_device("TensorRT")
    gpu = Gpu(device)
    trt = load_library(bundle.recipe.target)
    log = make_log(trt)
    loader = trt.Runtime(log)
    engines = EngineCache(bundle, trt, gpu).engines()
    loaded = {name: LoadedEngine(trt, loader, log, gpu, name, engine.plan) for name, engine in engines.items()}
    return TensorRTRuntime(loaded, gpu, device)


def build(bundle: Bundle, device: str, progress: Progress, workspace: int | None = None) -> dict[str, Engine]:
    """Build a bundle's engines for a GPU, as far as they are not there yet, without loading them.

    Args:
        bundle: an opened bundle.
        device: "CUDA", "CUDA.1", ...
        progress: called with a component's name and the share of its build that is done.
        workspace: bytes of the GPU's memory that a kernel may take; by default a quarter of all.

    Raises:
        DeviceError: there is no such GPU.
        CompileError: an engine cannot be built.
        MissingExtraError: TensorRT is not installed.
    """
    gpu = Gpu(device)
    return EngineCache(bundle, load_library(bundle.recipe.target), gpu).engines(progress, workspace)


def devices() -> list[Device]:
    """List the GPUs of this machine."""
    return list_gpus()


def missing() -> list[str]:
    """Say what to install if no GPU is visible."""
    return [] if list_gpus() else ["tensorrt: no NVIDIA GPU is visible; if there is one, install NVIDIA's driver"]


class TensorRTRuntime:
    """The contract of :class:`f2edge.engine.Runtime` over three engines.

    One execution context of each engine serves all answers, and threads take turns to use it.  Whatever belongs to one
    answer lies in memory of its own, and every method returns when the GPU is done.

    Args:
        engines: the engine of each component.
        gpu: the GPU that they are loaded on.
        device: the name of that GPU.
    """

    threads: int | None = None

    def __init__(self, engines: dict[str, LoadedEngine], gpu: Gpu, device: str) -> None:
        self.device = device
        self._gpu = gpu
        self._engines = engines
        vision = engines["vision"]
        self._pixels = Mirror(gpu, vision.size("pixel_values", vision.largest("pixel_values")))
        encoder = engines["encoder"]
        self._prompt = Mirror(gpu, encoder.size("input_ids", encoder.largest("input_ids")))
        self._decoder = DecoderEngine(engines["decoder"], gpu)

    def encode_image(self, pixel_values: FloatArray, signal: StopSignal = NEVER) -> Features:
        """Encode pixels (1, 3, H, W) into image features in memory of their own on the GPU.

        What the GPU has begun goes on to its end: it cannot be stopped.
        """
        signal.raise_if_requested()
        vision = self._engines["vision"]
        with self._gpu.turn():
            shape = vision.set_shapes({"pixel_values": pixel_values.shape})["image_features"]
            self._pixels.upload(pixel_values)
            features = Tensor(DeviceMemory(vision.size("image_features", shape)), shape)
            vision.begin({"pixel_values": self._pixels.memory, "image_features": features.memory})
            self._gpu.synchronize()
        return features

    def start(self, features: Features, prompt_ids: IntArray, signal: StopSignal = NEVER) -> TensorRTSession:
        """Encode image features and a prompt (tokens,); the outputs become inputs of the decoder without a copy.

        Raises:
            LimitError: the prompt is longer than the engine was built for.
        """
        signal.raise_if_requested()
        encoder = self._engines["encoder"]
        if len(prompt_ids) > (longest := encoder.largest("input_ids")[1]):
            raise LimitError(f"the prompt has {len(prompt_ids)} tokens, this engine takes {longest}; shorten the text")
        with self._gpu.turn():
            return TensorRTSession(self._decoder, self._gpu, self._cross_of(features, prompt_ids[None]))

    def _cross_of(self, features: Tensor, input_ids: IntArray) -> dict[str, Tensor]:
        """Run the encoder, and return keys and values of the cross-attention by name."""
        encoder = self._engines["encoder"]
        shapes = encoder.set_shapes({"image_features": features.shape, "input_ids": input_ids.shape})
        self._prompt.upload(input_ids)
        cross = {name: Tensor(DeviceMemory(encoder.size(name, shape)), shape) for name, shape in shapes.items()}
        inputs = {"image_features": features.memory, "input_ids": self._prompt.memory}
        encoder.begin(inputs | {name: tensor.memory for name, tensor in cross.items()})
        self._gpu.synchronize()
        return cross

    def features_to_host(self, features: Features) -> FloatArray:
        """Copy image features to an array (1, tokens, d_model)."""
        with self._gpu.turn():
            return self._gpu.fetch(features.memory, features.shape, self._engines["vision"].types["image_features"])

    def features_from_host(self, features: FloatArray) -> Features:
        """Copy an array (1, tokens, d_model) to the GPU."""
        array = np.ascontiguousarray(features, self._engines["encoder"].types["image_features"])
        with self._gpu.turn():
            tensor = Tensor(DeviceMemory(array.nbytes), array.shape)
            self._gpu.to_device(tensor.memory, array.ctypes.data, array.nbytes)
            self._gpu.synchronize()
        return tensor
