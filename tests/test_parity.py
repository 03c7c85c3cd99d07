"""Every engine gives the tokens of ``transformers.generate`` on random models, pictures and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import f2edge
from f2edge.compile.build import build
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.options import Options
from f2edge.compile.reference.runtime import TorchRuntime
from f2edge.decoding import generate
from f2edge.targets import TARGETS
from tests.support.native import VARIANTS, native_inputs, varied, write_native
from tests.support.searches import random_question, random_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from f2edge.arrays import FloatArray
    from f2edge.decoding.settings import GenerationSettings
    from f2edge.engine import Runtime
    from f2edge.geometry import Geometry

CASES = 50
COMPILED = ("cpu", "onnx", "npu")
TIE = 1e-5


def engines(checkpoint: Path, stages: Path, directory: Path) -> dict[str, Runtime]:
    """Return the reference, both compiled engines of one checkpoint, and the decoder of fixed shapes (on the CPU)."""
    for target in COMPILED:
        beams = 5 if TARGETS[target].static else None
        build(checkpoint, directory / target, Options(TARGETS[target], "fp32", num_beams=beams, stages=stages))
    compiled = {target: f2edge.load(directory / target, "CPU").runtime for target in COMPILED}
    return {"torch": TorchRuntime(load_checkpoint(checkpoint).model), **compiled}


def transformers_answer(
    native: Any, geometry: Geometry, pixels: FloatArray, prompt: list[int], settings: GenerationSettings
) -> tuple[list[int], float]:
    """Return transformers' sequence and its score (0 for greedy search, which has none)."""
    output = native.generate(
        **native_inputs(geometry, torch.from_numpy(pixels), prompt),
        do_sample=False,
        forced_bos_token_id=settings.forced_bos_token_id,
        forced_eos_token_id=settings.forced_eos_token_id,
        num_beams=settings.num_beams,
        max_new_tokens=settings.max_new_tokens,
        no_repeat_ngram_size=settings.no_repeat_ngram_size,
        length_penalty=settings.length_penalty if settings.num_beams > 1 else None,
        early_stopping=settings.early_stopping if settings.num_beams > 1 else None,
        return_dict_in_generate=True,
        output_scores=True,
    )
    scores = getattr(output, "sequences_scores", None)
    return output.sequences[0].tolist(), 0.0 if scores is None else float(scores[0])


@pytest.mark.parametrize("variant", range(VARIANTS))
def test_engines_answer_as_transformers(
    variant: int, stages: Path, tmp_path: Path, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """50 random cases on each of 4 models give identical tokens on each engine, except at ties closer than 1e-5."""
    native = write_native(tmp_path / "checkpoint", varied(variant), seed=10 + variant)
    ties = compare(variant, native, engines(tmp_path / "checkpoint", stages, tmp_path), tmp_path / "checkpoint")
    record_property("ties", ties)
    if ties:
        with capsys.disabled():
            print(f"\nvariant {variant}: answers that differ at a tie closer than {TIE}: {ties}")  # noqa: T201
    assert len(ties) <= 2


@pytest.mark.gpu
@pytest.mark.parametrize("variant", range(VARIANTS))
def test_onnxruntime_on_a_gpu_answers_as_transformers(variant: int, stages: Path, tmp_path: Path) -> None:
    """The same cases, with ONNX Runtime on an NVIDIA GPU and transformers on the CPU."""
    native = write_native(tmp_path / "checkpoint", varied(variant), seed=10 + variant)
    build(tmp_path / "checkpoint", tmp_path / "onnx", Options(TARGETS["onnx"], "fp32", stages=stages))
    runtime = f2edge.load(tmp_path / "onnx", "CUDA").runtime
    assert len(compare(variant, native, {"CUDA": runtime}, tmp_path / "checkpoint")) <= 2


def compare(variant: int, native: Any, runtimes: Mapping[str, Runtime], checkpoint: Path) -> list[tuple[str, int]]:
    """Hold the answers of engines to those of transformers; return the engines and cases that differ at a tie."""
    geometry, defaults = varied(variant), load_checkpoint(checkpoint).settings
    rng = np.random.default_rng(variant)
    ties, lengths = [], []
    for case in range(CASES):
        pixels, prompt = random_question(rng, geometry.image_size)
        settings = random_settings(rng, defaults)
        expected, score = transformers_answer(native, geometry, pixels, prompt, settings)
        lengths.append(len(expected))
        for name, runtime in runtimes.items():
            answer = generate(runtime.start(runtime.encode_image(pixels), np.array(prompt)), settings)
            if list(answer.token_ids) != expected:
                assert settings.num_beams > 1, (name, case, answer.token_ids, expected)
                assert abs(answer.score - score) < TIE, (name, case, answer.token_ids, expected)
                ties.append((name, case))
    assert max(lengths) > 40
    return ties
