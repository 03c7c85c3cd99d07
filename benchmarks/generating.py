"""Base class of the contenders that transformers' ``generate`` drives: settings, and a clock at each step."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from measuring import WholeModel, around, decoded_photograph, preprocess
from tokenizers import Tokenizer
from transformers.modeling_outputs import BaseModelOutput
from workload import AROUND

from f2edge.tasks.table import build_prompt, resolve
from tests.support.checkpoints import GENERATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from artefacts import Cache
    from torch import Tensor
    from workload import Workload

    from f2edge.arrays import ByteArray

THREE = 3


class Generating(WholeModel):
    """A model with a method ``generate``.

    Args:
        workload: the model size and the lengths of the answers.
        cache: the cache that holds the photograph and the tokenizer.
        dtype: dtype of the pixels and the encoder states.
    """

    model: Any
    _states: Tensor

    def __init__(self, workload: Workload, cache: Cache, dtype: torch.dtype) -> None:
        super().__init__(workload)
        self.dtype = dtype
        self._picture = decoded_photograph(cache)
        self._tokenizer = Tokenizer.from_file(str(cache.get("checkpoint") / "tokenizer.json"))

    @abstractmethod
    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """Return image features (1, tokens, d_model) of pixels (1, 3, H, W)."""

    @abstractmethod
    def encode(self, features: Tensor, prompt: list[int]) -> Tensor:
        """Return the encoder states (1, tokens, d_model) of image features and prompt ids."""

    @abstractmethod
    def inputs(self, pixel_values: Tensor, prompt: list[int]) -> dict[str, Tensor]:
        """Return the model inputs of ``generate`` for whole answers about pixels (B, 3, H, W)."""

    def answer(self, case: str, tokens: int) -> str:
        """Preprocess, generate, detokenize."""
        return self.answers([self._picture], case, tokens)[0]

    def answers(self, pictures: Sequence[ByteArray], case: str, tokens: int) -> list[str]:
        """Answer one question about each picture (H, W, 3), all in one batch."""
        pixels = torch.cat([self._pixels(picture) for picture in pictures])
        inputs = self.inputs(pixels, self._prompt(case))
        ids = self._generate(tokens, THREE, **inputs)
        return [self._tokenizer.decode(sequence) for sequence in ids.tolist()]

    @torch.inference_mode()
    def stages(self) -> dict[str, float]:
        """Time the tower and the encoder, each called by itself."""
        pixels, prompt = self._pixels(self._picture), self._prompt("caption")
        started = time.perf_counter()
        features = self.encode_image(pixels)
        seen = time.perf_counter()
        self._states = self.encode(features, prompt)
        return {"vision": (seen - started) * 1e3, "encoder": (time.perf_counter() - seen) * 1e3}

    @torch.inference_mode()
    def steps(self, num_beams: int) -> dict[int, list[float]]:
        """Time steps of a search that continues a given prefix, so that no long answer has to be generated.

        The search uses the encoder states that :meth:`stages` computed.
        """
        milliseconds = {}
        for position in self.workload.positions:
            begun = torch.arange(2, 2 + position - AROUND)[None]  # no trigram comes twice
            clock = _Clock()
            given = {"encoder_outputs": BaseModelOutput(self._states), "decoder_input_ids": begun}
            self._generate(2 * AROUND + 2, num_beams, **given, logits_processor=[clock])
            milliseconds[position] = around(clock.done, begun.shape[1] - 1, position)
        return milliseconds

    def _generate(self, tokens: int, num_beams: int, **inputs: Any) -> Any:
        """Generate exactly ``tokens`` tokens with Florence-2's own settings."""
        settings = {**GENERATION, "num_beams": num_beams, "early_stopping": num_beams > 1, "do_sample": False}
        return self.model.generate(**inputs, **settings, min_new_tokens=tokens, max_new_tokens=tokens)

    def _pixels(self, picture: ByteArray) -> Tensor:
        return torch.from_numpy(preprocess(picture, self.workload.geometry)).to(self.dtype)

    def _prompt(self, case: str) -> list[int]:
        prompt = build_prompt(resolve(case), None, None, (1, 1))
        return list(self._tokenizer.encode(prompt).ids)


class _Clock:
    """A logits processor that leaves the logits alone and records when it was called: once per step."""

    def __init__(self) -> None:
        self.done: list[float] = []

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        self.done.append(time.perf_counter())
        return scores
