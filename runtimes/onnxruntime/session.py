"""The decoder's steps in ONNX Runtime: keys and values stay in the memory of its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from f2edge.decoding.session import StepScores
from f2edge.runtimes.batches import MASK, lengths_of, mask, put_together, without_filling
from f2edge.runtimes.onnxruntime.graph import HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnxruntime as ort

    from f2edge.arrays import FloatArray, IntArray
    from f2edge.runtimes.onnxruntime.graph import Graph, Memory

_STATES = 2
"""The axis of the states in keys and values of the cross-attention."""
_SCORES = ("candidate_ids", "candidate_logits", "log_sum_exp")
"""The outputs that every step is read by; all logits are hardly ever needed (f2edge/decoding/session.py)."""


class OnnxSession:
    """One answer that is being decoded.

    Args:
        decoder: the decoder.
        cross: keys and values of the cross-attention, by input, in the memory of the decoder.
    """

    def __init__(self, decoder: Graph, cross: dict[str, ort.OrtValue]) -> None:
        self._decoder = decoder
        self._cross = cross
        self._past = {i.name: _empty(i.shape) for i in decoder.session.get_inputs() if i.name.startswith("past.")}
        self._position = 0

    def step(self, tokens: IntArray, beam_indices: IntArray) -> StepScores:
        """Feed the beams' last tokens (beams,), reorder the past by ``beam_indices``, and score the next tokens."""
        outputs = self._decoder.run(self._inputs(tokens, beam_indices), self._decoder.memory, to_host=_SCORES)
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
            "input_ids": HOST.value(tokens),
            "position": HOST.value(np.array([self._position])),
            "beam_idx": HOST.value(beam_indices),
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
        memory = self._decoder.memory
        kept = {
            name: memory.value(without_filling(value.numpy(), questions, _STATES, int(lengths.max())))
            for name, value in self._cross.items()
            if name != MASK
        }
        self._cross = kept | {MASK: memory.value(mask(lengths))}


def together(parts: Sequence[ort.OrtValue], memory: Memory) -> ort.OrtValue:
    """Put keys or values of one question each (1, heads, tokens, head_dim) into one value, by way of the CPU."""
    arrays = [part.numpy() for part in parts]
    _, heads, _, width = arrays[0].shape
    longest = max(array.shape[_STATES] for array in arrays)
    joined = np.empty((len(arrays), heads, longest, width), np.float32)
    put_together(arrays, _STATES, joined)
    return memory.value(joined)


def _empty(shape: Sequence[int | str]) -> ort.OrtValue:
    """Make keys or values before the first step: one beam and no tokens where the graph leaves these sizes open."""
    beams, heads, length, width = shape
    open_sizes = (beams if isinstance(beams, int) else 1, length if isinstance(length, int) else 0)
    return HOST.value(np.zeros((open_sizes[0], int(heads), open_sizes[1], int(width)), np.float32))
