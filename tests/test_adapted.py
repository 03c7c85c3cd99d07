"""A bundle with an adapter answers as transformers does with peft's adapter in place, which merges nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
from transformers import Florence2ForConditionalGeneration

import f2edge
from f2edge.compile.build import build
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.options import Lora, Options
from f2edge.decoding import generate
from f2edge.targets import TARGETS
from tests.support.adapters import RSLORA, modules, write_adapter, write_base
from tests.support.checkpoints import TINY
from tests.support.native import varied, write_native
from tests.support.same_files import PROMPT, answer_of, random_picture, usual_files

if TYPE_CHECKING:
    from pathlib import Path

GEOMETRY = varied(0)
PICTURES = 3


def test_the_answers_of_an_adapter(stages: Path, tmp_path: Path) -> None:
    """The most used recipe adapts the head, which is tied to the embedding; the answers are not the base's."""
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    write_native(base, GEOMETRY, seed=3)
    usual_files(base)
    pictures = [random_picture(np.random.default_rng(seed)) for seed in range(PICTURES)]
    model = Florence2ForConditionalGeneration.from_pretrained(base, attn_implementation="eager").eval()
    before = [answer_of(model, base, picture, GEOMETRY.num_image_tokens) for picture in pictures]
    adapted = write_adapter(adapter, model, **RSLORA).eval()
    expected = [answer_of(adapted, base, picture, GEOMETRY.num_image_tokens) for picture in pictures]
    assert expected != before

    build(base, tmp_path / "bundle", Options(TARGETS["onnx"], "fp32", stages=stages, lora=(Lora(adapter),)))
    with f2edge.load(tmp_path / "bundle") as compiled:
        images = [compiled.encode(picture) for picture in pictures]
        sessions = [compiled.runtime.start(image.features, np.array(PROMPT)) for image in images]
        assert [list(generate(session, compiled.settings()).token_ids) for session in sessions] == expected


def test_tables_in_int8(stages: Path, tmp_path: Path) -> None:
    """With an adapter of the embedding of prompts alone, head and embedding of the decoder stay one table of bytes."""
    base = write_base(tmp_path / "base", "microsoft")
    layers = modules(load_checkpoint(base).model, "microsoft")
    write_adapter(tmp_path / "adapter", layers, r=4, target_modules=["shared"])
    options = Options(TARGETS["onnx"], "int8", stages=stages, lora=(Lora(tmp_path / "adapter"),))
    bundle = build(base, tmp_path / "bundle", options)
    assert bundle.verified is not None
    assert bundle.verified.passed
    assert [adapter.name for adapter in bundle.recipe.adapters] == ["adapter"]
    graph = onnx.load(bundle.path / "decoder.onnx", load_external_data=False).graph
    table = TINY.vocab_size * TINY.d_model
    tables = [tensor for tensor in graph.initializer if math.prod(tensor.dims) == table]
    assert {tensor.data_type for tensor in tables} == {onnx.TensorProto.UINT8}
    places = {entry.value for tensor in tables for entry in tensor.external_data if entry.key == "offset"}
    assert len(places) == 1
