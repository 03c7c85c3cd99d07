"""Measure the quantization noise of a model with some blocks in INT8.

Both models are fed the answers of the float model.  The measure is the Kullback-Leibler divergence of the distribution
of the next token from that of the float model, averaged over the tokens of recorded questions.  It is continuous, while
a task metric over a hundred pictures moves by a whole point or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from f2edge.bundle.golden import relative_error, sqnr_db, teacher_forced
from f2edge.decoding import generate

if TYPE_CHECKING:
    from f2edge.arrays import FloatArray, IntArray
    from f2edge.calibration.recorder import Records
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.engine import Runtime

TOKENS = 12
"""The most tokens of one answer that are compared."""


class Noise(NamedTuple):
    """The noise that a variant of the model adds.

    Args:
        divergence: mean Kullback-Leibler divergence of the distribution of the next token, in nats.
        relative_error: by component, the mean relative error of its outputs: image features, cross-attention keys and
            values, logits.  If one component is changed, those before it are exact.
    """

    divergence: float
    relative_error: dict[str, float]

    def sqnr_db(self, component: str) -> float:
        """Return the signal-to-quantization-noise ratio of the outputs of a component, in dB."""
        return sqnr_db(self.relative_error[component])


@dataclass(frozen=True)
class _Trace:
    """The values that a model computes for one question: features, keys and values, logits (tokens, vocabulary)."""

    features: FloatArray
    cross: FloatArray
    logits: FloatArray


class Probe:
    """Questions with the answers of the float model, with which variants are compared.

    Args:
        runtime: the float model.
        records: the calibration records; the first pictures are taken, each with one prompt.
        settings: the settings of the searches.
        count: the number of pictures.
    """

    def __init__(self, runtime: Runtime, records: Records, settings: GenerationSettings, count: int) -> None:
        self._records = records
        self._questions = [_question(records, index) for index in range(min(count, len(records.samples("vision"))))]
        self._answers: list[tuple[int, ...]] = []
        for index, prompt_ids in enumerate(self._questions):
            session = runtime.start(runtime.encode_image(self._pixels(index)), prompt_ids)
            self._answers.append(generate(session, _greedy(settings)).token_ids)
        self._truth = self._traces(runtime)

    def noise(self, runtime: Runtime) -> Noise:
        """Compare a variant with the float model."""
        traces = self._traces(runtime)
        pairs = list(zip(traces, self._truth, strict=True))
        errors = {
            component: float(np.mean([relative_error(getattr(a, field), getattr(b, field)) for a, b in pairs]))
            for component, field in (("vision", "features"), ("encoder", "cross"), ("decoder", "logits"))
        }
        return Noise(float(np.mean([_divergence(a.logits, b.logits) for a, b in pairs])), errors)

    def _traces(self, runtime: Runtime) -> list[_Trace]:
        return [self._trace(runtime, index) for index in range(len(self._questions))]

    def _trace(self, runtime: Runtime, index: int) -> _Trace:
        features = runtime.encode_image(self._pixels(index))
        session = runtime.start(features, self._questions[index])
        logits = teacher_forced(session, self._answers[index])
        cross = np.concatenate([tensor.ravel() for tensor in session.cross_key_values()])
        return _Trace(runtime.features_to_host(features), cross, logits)

    def _pixels(self, index: int) -> FloatArray:
        return self._records.load(self._records.file("vision", index))["pixel_values"]  # type: ignore[return-value]


def _question(records: Records, index: int) -> IntArray:
    """Return one prompt of a picture; successive pictures give different kinds of prompts."""
    prompts = sorted(records.directory.glob(f"encoder-{index:05}-*.npz"))
    ids: IntArray = records.load(prompts[index % len(prompts)])["input_ids"][0]
    return ids


def _greedy(settings: GenerationSettings) -> GenerationSettings:
    return replace(settings, num_beams=1, max_new_tokens=min(TOKENS, settings.max_new_tokens))


def _divergence(logits: FloatArray, truth: FloatArray) -> float:
    """Return the mean divergence over the tokens; the first is forced in every model, so it is left out."""
    ours, theirs = _log_softmax(logits[1:]), _log_softmax(truth[1:])
    return float((np.exp(theirs) * (theirs - ours)).sum(-1).mean())


def _log_softmax(logits: FloatArray) -> FloatArray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))  # type: ignore[no-any-return]
