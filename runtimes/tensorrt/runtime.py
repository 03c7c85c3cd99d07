"""TensorRT on NVIDIA GPUs: features, keys and values stay on the device, only the candidates come back.

The decoder's shapes differ at every step, as its past grows, so its steps are no CUDA graph; see docs/devices.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.session import StepScores
from f2edge.errors import LimitError
from f2edge.runtimes.tensorrt.cache import EngineCache
from f2edge.runtimes.tensorrt.cuda import DeviceMemory, Gpu, Mirror, list_gpus
from f2edge.runtimes.tensorrt.engine import Graph, Tensor
from f2edge.runtimes.tensorrt.library import load_library, make_log

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray
    from f2edge.bundle.manifest import Bundle
    from f2edge.engine import Features
    from f2edge.placement import Placement
    from f2edge.runtimes.device import Device
    from f2edge.runtimes.tensorrt.cache import Engine, Progress

_CANDIDATES = ("candidate_ids", "candidate_logits", "log_sum_exp")
_FED = ("input_ids", "position", "beam_idx")


def open_runtime(bundle: Bundle, placement: Placement) -> TensorRTRuntime:
    """Load a bundle's engines, which are built first where they are not there yet.

    Raises:
        DeviceError: there is no such GPU, or it cannot take the engines.
        CompileError: an engine cannot be built.
        MissingExtraError: TensorRT is not installed.
    """
    device = placement.only_device("TensorRT")
    gpu = Gpu(device)
    trt = load_library(bundle.recipe.target)
    log = make_log(trt)
    loader = trt.Runtime(log)
    engines = EngineCache(bundle, trt, gpu).engines()
    graphs = {name: Graph(trt, loader, log, gpu, name, engine.plan) for name, engine in engines.items()}
    return TensorRTRuntime(graphs, gpu, device)


def build(bundle: Bundle, device: str, progress: Progress, workspace: int | None = None) -> dict[str, Engine]:
    """Build those of a bundle's engines for a GPU that are not there yet, without loading them.

    Args:
        bundle: an opened bundle.
        device: "CUDA", "CUDA.1", ...
        progress: told the component and the share of its build that is done.
        workspace: most bytes of the GPU's memory that a kernel may take; by default a quarter.

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
    """What to do for a GPU to be seen."""
    return [] if list_gpus() else ["tensorrt: no NVIDIA GPU is seen; one that is there needs NVIDIA's driver"]


class TensorRTRuntime:
    """The contract of :class:`f2edge.engine.Runtime` over three engines.

    One context of each serves all answers: whatever belongs to one lies in memory of its own, and a verb returns when
    the GPU is done.
    """

    threads: int | None = None

    def __init__(self, graphs: dict[str, Graph], gpu: Gpu, device: str) -> None:
        self.device = device
        self._gpu = gpu
        self._graphs = graphs
        vision = graphs["vision"]
        self._pixels = Mirror(gpu, vision.size("pixel_values", vision.largest("pixel_values")))
        encoder = graphs["encoder"]
        self._prompt = Mirror(gpu, encoder.size("input_ids", encoder.largest("input_ids")))
        self._decoder = Decoder(graphs["decoder"], gpu)

    def encode_image(self, pixel_values: FloatArray) -> Features:
        """Pixels (1, 3, H, W) to image features, in memory that is theirs alone."""
        vision = self._graphs["vision"]
        shape = vision.set_shapes({"pixel_values": pixel_values.shape})["image_features"]
        self._pixels.upload(pixel_values)
        features = Tensor(DeviceMemory(vision.size("image_features", shape)), shape)
        vision.begin({"pixel_values": self._pixels.memory, "image_features": features.memory})
        self._gpu.synchronize()
        return features

    def start(self, features: Features, prompt_ids: IntArray) -> TensorRTSession:
        """Run the encoder; its outputs become the decoder's inputs where they are.

        Raises:
            LimitError: the prompt is longer than the engine was built for.
        """
        encoder = self._graphs["encoder"]
        if len(prompt_ids) > (longest := encoder.largest("input_ids")[1]):
            raise LimitError(f"the prompt has {len(prompt_ids)} tokens, this engine takes {longest}; shorten the text")
        ids = prompt_ids[None]
        shapes = encoder.set_shapes({"image_features": features.shape, "input_ids": ids.shape})
        self._prompt.upload(ids)
        cross = {name: Tensor(DeviceMemory(encoder.size(name, shape)), shape) for name, shape in shapes.items()}
        places = {"image_features": features.memory, "input_ids": self._prompt.memory}
        encoder.begin(places | {name: tensor.memory for name, tensor in cross.items()})
        self._gpu.synchronize()
        return TensorRTSession(self._decoder, self._gpu, cross)

    def features_to_host(self, features: Features) -> FloatArray:
        """A copy as an array."""
        self._gpu.activate()
        return self._gpu.fetch(features.memory, features.shape, self._graphs["vision"].types["image_features"])

    def features_from_host(self, features: FloatArray) -> Features:
        """A copy on the GPU."""
        self._gpu.activate()
        array = np.ascontiguousarray(features, self._graphs["encoder"].types["image_features"])
        tensor = Tensor(DeviceMemory(array.nbytes), array.shape)
        self._gpu.to_device(tensor.memory, array.ctypes.data, array.nbytes)
        self._gpu.synchronize()
        return tensor


class Decoder:
    """The decoder's engine, and the small tensors that every step of every answer brings and takes."""

    def __init__(self, graph: Graph, gpu: Gpu) -> None:
        self.graph = graph
        self.past = [name for name in graph.inputs if name.startswith("past.")]
        self.most_beams, _, self.longest_past, _ = graph.largest(self.past[0])
        self.fed = {name: Mirror(gpu, graph.size(name, graph.largest(name))) for name in _FED}
        widest = graph.set_shapes({name: graph.largest(name) for name in graph.inputs})
        self.given = {name: Mirror(gpu, graph.size(name, widest[name])) for name in _CANDIDATES}

    def check(self, beams: int, position: int) -> None:
        """Refuse what the engine was not built for.

        Raises:
            LimitError: too many beams, or too long an answer.
        """
        if beams > self.most_beams:
            raise LimitError(f"num_beams is {beams}; this engine was built for 1 to {self.most_beams}")
        if position > self.longest_past:
            raise LimitError(
                f"this engine was built for answers of {self.longest_past + 1} tokens; "
                "lower `max_new_tokens`, or compile with a larger one"
            )


class TensorRTSession:
    """One answer being decoded.

    Keys and values are in two sets of memory that take turns: a step reads the past from one, reordered by the graph,
    and writes the present into the other.
    """

    def __init__(self, decoder: Decoder, gpu: Gpu, cross: dict[str, Tensor]) -> None:
        self._decoder = decoder
        self._gpu = gpu
        self._cross = cross
        graph = decoder.graph
        self._shapes = {name: _empty(graph.largest(name)) for name in decoder.past}
        self._past = {name: DeviceMemory(0) for name in decoder.past}
        self._present = {name: DeviceMemory(0) for name in decoder.past}
        self._logits = DeviceMemory(0)
        self._position = 0

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens, reorder what they saw, and give the scores of the next ones.

        Raises:
            LimitError: more beams, or a longer answer, than the engine was built for.
        """
        graph = self._decoder.graph
        self._decoder.check(len(tokens), self._position)
        fed = {"input_ids": tokens, "position": np.array([self._position]), "beam_idx": beam_indices}
        arrays = {name: np.ascontiguousarray(array, graph.types[name]) for name, array in fed.items()}
        shapes = graph.set_shapes(
            {name: array.shape for name, array in arrays.items()}
            | {name: tensor.shape for name, tensor in self._cross.items()}
            | self._shapes
        )
        self._reserve(shapes)
        for name, array in arrays.items():
            self._decoder.fed[name].upload(array)
        graph.begin(self._places())
        given = {n: self._decoder.given[n].begin_download(shapes[n], graph.types[n]) for n in _CANDIDATES}
        self._gpu.synchronize()
        self._advance(shapes)
        return StepScores(
            token_ids=given["candidate_ids"].astype(np.int64),
            logits=given["candidate_logits"].copy(),
            log_sum_exp=given["log_sum_exp"].copy(),
            fetch_logits=lambda: self._fetch(self._logits, shapes["logits"], "logits"),
        )

    def cross_key_values(self) -> list[FloatArray]:
        """Copies of the cross-attention's keys and values."""
        return [self._fetch(tensor.memory, tensor.shape, name) for name, tensor in self._cross.items()]

    def _reserve(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Room for what the step gives; what it replaces is not needed any more, so nothing is copied."""
        graph = self._decoder.graph
        for name, memory in self._present.items():
            self._present[name] = _grown(memory, graph.size(name, shapes[_present(name)]))
        self._logits = _grown(self._logits, graph.size("logits", shapes["logits"]))

    def _places(self) -> dict[str, DeviceMemory]:
        mirrors = {name: mirror.memory for name, mirror in (self._decoder.fed | self._decoder.given).items()}
        cross = {name: tensor.memory for name, tensor in self._cross.items()}
        present = {_present(name): memory for name, memory in self._present.items()}
        return {**mirrors, **cross, **self._past, **present, "logits": self._logits}

    def _advance(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._past, self._present = self._present, self._past
        self._shapes = {name: shapes[_present(name)] for name in self._past}
        self._position += 1

    def _fetch(self, memory: DeviceMemory, shape: tuple[int, ...], name: str) -> FloatArray:
        self._gpu.activate()
        return self._gpu.fetch(memory, shape, self._decoder.graph.types[name]).astype(np.float32, copy=False)


def _present(past: str) -> str:
    return past.replace("past.", "present.")


def _empty(largest: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of keys or values of one beam that has seen nothing."""
    _, heads, _, width = largest
    return 1, heads, 0, width


def _grown(memory: DeviceMemory, size: int) -> DeviceMemory:
    """The same memory if it is large enough, else at least twice as much, so that an answer seldom asks for more."""
    return memory if size <= memory.size else DeviceMemory(max(size, 2 * memory.size))
