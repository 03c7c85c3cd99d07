"""Contender: the decoder step of CTranslate2, a BART of Florence-2's size in INT8.

The encoder has a single layer, since only the length of its output matters.  The time of a step is the difference
between a longer and a shorter answer divided by the difference in tokens, so work before the steps cancels out.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import ctranslate2
from ctranslate2.converters import Converter
from ctranslate2.converters.transformers import BartLoader
from measuring import WARM_UP_S, Contender, Samples, repeated, step_name, timed
from workload import BEAMS

if TYPE_CHECKING:
    from pathlib import Path

    from artefacts import Cache
    from ctranslate2.specs import ModelSpec
    from workload import Workload

    from f2edge.geometry import Geometry

_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
_PROMPT = 13
"""Tokens after the image: with 577 image tokens the encoder has 590."""


def convert(path: Path, geometry: Geometry) -> None:
    """Write a random BART with the sizes of ``geometry`` as a CTranslate2 INT8 model into the directory ``path``."""
    _RandomBart(geometry).convert(str(path), quantization="int8")


class _RandomBart(Converter):  # type: ignore[misc]
    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry

    def _load(self) -> ModelSpec:
        from transformers import BartForConditionalGeneration

        model = BartForConditionalGeneration(self._config()).eval()
        spec = BartLoader().get_model_spec(model)
        words = _SPECIAL + [f"w{index}" for index in range(len(_SPECIAL), self._geometry.vocab_size)]
        spec.register_source_vocabulary(words)
        spec.register_target_vocabulary(words)
        spec.config.decoder_start_token = _SPECIAL[2]
        return spec

    def _config(self) -> object:
        from transformers import BartConfig

        from tests.support.checkpoints import text_config

        sizes = text_config(self._geometry) | {"encoder_layers": 1}
        return BartConfig(
            **sizes, max_position_embeddings=self._geometry.encoder_positions, normalize_before=False, dropout=0.0
        )


class CTranslate2Decoder(Contender):
    """The decoder, with all threads on one answer."""

    def __init__(self, workload: Workload, cache: Cache) -> None:
        self._positions = workload.positions
        threads = len(os.sched_getaffinity(0))
        self._translator = ctranslate2.Translator(
            str(cache.get("ctranslate2")), compute_type="int8", inter_threads=1, intra_threads=threads
        )
        tokens = workload.geometry.num_image_tokens + _PROMPT
        self._source = [f"w{index}" for index in range(len(_SPECIAL), len(_SPECIAL) + tokens)]

    def warm_up(self) -> None:
        """Generate short answers."""
        repeated(lambda: self._decode(min(self._positions), BEAMS[-1]), WARM_UP_S)

    def measure(self) -> Samples:
        """Measure, for each position p, the mean time of a step between positions p / 2 and 3 p / 2."""
        return {step_name(beams, place): [self._step(beams, place)] for beams in BEAMS for place in self._positions}

    def _step(self, num_beams: int, position: int) -> float:
        half = position // 2
        longer, shorter = (timed(lambda n=n: self._decode(n, num_beams)) for n in (position + half, position - half))
        return (longer - shorter) / (2 * half)

    def _decode(self, tokens: int, num_beams: int) -> None:
        answers = self._translator.translate_batch(
            [self._source],
            beam_size=num_beams,
            min_decoding_length=tokens,
            max_decoding_length=tokens,
            no_repeat_ngram_size=3,
            max_input_length=0,
        )
        assert len(answers[0].hypotheses[0]) == tokens
