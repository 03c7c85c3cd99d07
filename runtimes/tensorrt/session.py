"""Decode one answer with TensorRT: keys and values stay on the GPU, only the best candidates come back.

The past grows at every step, so shapes differ from step to step and a CUDA graph cannot replay one (docs/devices.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.session import StepScores
from f2edge.errors import LimitError
from f2edge.runtimes.tensorrt.cuda import DeviceMemory, Mirror

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray
    from f2edge.runtimes.tensorrt.cuda import Gpu
    from f2edge.runtimes.tensorrt.engine import LoadedEngine, Tensor

_CANDIDATES = ("candidate_ids", "candidate_logits", "log_sum_exp")
_STEP_INPUTS = ("input_ids", "position", "beam_idx")


class DecoderEngine:
    """The decoder's engine, with the small tensors that every step of every answer uses.

    Attributes:
        past: names of the inputs for keys and values.
        most_beams: beams that the engine was built for.
        longest_past: tokens of the past that the engine was built for.
        step_inputs: tokens, position and beam indices.
        candidates: ids and logits of the candidates, and the log-sum-exp.

    Args:
        engine: the decoder's engine.
        gpu: the GPU.
    """

    def __init__(self, engine: LoadedEngine, gpu: Gpu) -> None:
        self.engine = engine
        self.past = [name for name in engine.inputs if name.startswith("past.")]
        self.most_beams, _, self.longest_past, _ = engine.largest(self.past[0])
        self.step_inputs = {name: Mirror(gpu, engine.size(name, engine.largest(name))) for name in _STEP_INPUTS}
        largest = engine.set_shapes({name: engine.largest(name) for name in engine.inputs})
        self.candidates = {name: Mirror(gpu, engine.size(name, largest[name])) for name in _CANDIDATES}

    def check(self, beams: int, position: int) -> None:
        """Refuse a step that the engine was not built for.

        Raises:
            LimitError: there are too many beams, or the answer is too long.
        """
        if beams > self.most_beams:
            raise LimitError(f"num_beams is {beams}; this engine was built for 1 to {self.most_beams}")
        if position > self.longest_past:
            raise LimitError(
                f"this engine was built for answers of {self.longest_past + 1} tokens; "
                "lower `max_new_tokens`, or compile with a larger one"
            )


class TensorRTSession:
    """One answer that is being decoded.

    Two sets of memory for keys and values take turns: a step reads the past from one, where the graph reorders it, and
    writes the present to the other.

    Args:
        decoder: the decoder's engine.
        gpu: the GPU.
        cross: keys and values of the cross-attention, by input.
    """

    def __init__(self, decoder: DecoderEngine, gpu: Gpu, cross: dict[str, Tensor]) -> None:
        self._decoder = decoder
        self._gpu = gpu
        self._cross = cross
        self._past_shapes = {name: _empty(decoder.engine.largest(name)) for name in decoder.past}
        self._past = {name: DeviceMemory(0) for name in decoder.past}
        self._present = {name: DeviceMemory(0) for name in decoder.past}
        self._logits = DeviceMemory(0)
        self._position = 0

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens (beams,), reorder the past by ``beam_indices``, and score the next tokens.

        Raises:
            LimitError: there are more beams, or the answer is longer, than the engine was built for.
        """
        self._decoder.check(len(tokens), self._position)
        with self._gpu.turn():
            return self._step(tokens, beam_indices)

    def _step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        engine = self._decoder.engine
        values = {"input_ids": tokens, "position": np.array([self._position]), "beam_idx": beam_indices}
        arrays = {name: np.ascontiguousarray(array, engine.types[name]) for name, array in values.items()}
        shapes = engine.set_shapes(
            {name: array.shape for name, array in arrays.items()}
            | {name: tensor.shape for name, tensor in self._cross.items()}
            | self._past_shapes
        )
        self._reserve(shapes)
        for name, array in arrays.items():
            self._decoder.step_inputs[name].upload(array)
        engine.begin(self._places())
        views = {n: self._decoder.candidates[n].begin_download(shapes[n], engine.types[n]) for n in _CANDIDATES}
        self._gpu.synchronize()
        self._advance(shapes)
        return StepScores(
            token_ids=views["candidate_ids"].astype(np.int64),
            logits=views["candidate_logits"].copy(),
            log_sum_exp=views["log_sum_exp"].copy(),
            fetch_logits=lambda: self._fetch(self._logits, shapes["logits"], "logits"),
        )

    def cross_key_values(self) -> list[FloatArray]:
        """Copy the cross-attention's keys and values, each (1, heads, tokens, head_dim)."""
        return [self._fetch(tensor.memory, tensor.shape, name) for name, tensor in self._cross.items()]

    def _reserve(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Make room for a step's outputs; what was there is not needed any more, so nothing is copied."""
        engine = self._decoder.engine
        for name, memory in self._present.items():
            self._present[name] = _grown(memory, engine.size(name, shapes[_present(name)]))
        self._logits = _grown(self._logits, engine.size("logits", shapes["logits"]))

    def _places(self) -> dict[str, DeviceMemory]:
        decoder = self._decoder
        mirrors = {name: mirror.memory for name, mirror in (decoder.step_inputs | decoder.candidates).items()}
        cross = {name: tensor.memory for name, tensor in self._cross.items()}
        present = {_present(name): memory for name, memory in self._present.items()}
        return {**mirrors, **cross, **self._past, **present, "logits": self._logits}

    def _advance(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._past, self._present = self._present, self._past
        self._past_shapes = {name: shapes[_present(name)] for name in self._past}
        self._position += 1

    def _fetch(self, memory: DeviceMemory, shape: tuple[int, ...], name: str) -> FloatArray:
        with self._gpu.turn():
            return self._gpu.fetch(memory, shape, self._decoder.engine.types[name]).astype(np.float32, copy=False)


def _present(past: str) -> str:
    return past.replace("past.", "present.")


def _empty(largest: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of keys or values before the first step: one beam and no tokens."""
    _, heads, _, width = largest
    return 1, heads, 0, width


def _grown(memory: DeviceMemory, size: int) -> DeviceMemory:
    """Return the memory if it is large enough, else a new one of at least twice its size, so that this is rare."""
    return memory if size <= memory.size else DeviceMemory(max(size, 2 * memory.size))
