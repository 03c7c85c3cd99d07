"""A head with weights of its own answers as in transformers 5.23, whatever the config says, on every engine."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

import f2edge
from f2edge.compile.build import build
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.options import Options
from f2edge.compile.reference.runtime import TorchRuntime
from f2edge.decoding import generate
from f2edge.errors import CheckpointError
from f2edge.image import model_pixels
from f2edge.targets import TARGETS
from tests.support.checkpoints import write_json
from tests.support.native import varied, write_native
from tests.support.pictures import write_pictures
from tests.support.same_files import PROMPT, random_picture, transformers_answer, usual_files

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.quantize.policy import WeightFormat
    from f2edge.targets import Precision

GEOMETRY = varied(0)
PICTURES = 3


def write_own_head(path: Path) -> None:
    """Write a checkpoint in transformers' layout whose head has nothing to do with its embedding."""
    write_native(path, GEOMETRY, seed=3)
    tensors = load_file(path / "model.safetensors")
    shape = tensors["model.language_model.shared.weight"].shape
    tensors["lm_head.weight"] = 0.6 * torch.randn(shape, generator=torch.Generator().manual_seed(9))
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    usual_files(path)


def say_tied(path: Path, tied: bool | None) -> None:
    """Write ``tie_word_embeddings`` into both places of ``config.json``, or into none."""
    config: dict[str, Any] = json.loads((path / "config.json").read_text("utf-8"))
    for section in (config, config["text_config"]):
        section.pop("tie_word_embeddings", None)
    if tied is not None:
        config["tie_word_embeddings"] = tied
    write_json(path / "config.json", config)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with a head of its own."""
    path = tmp_path_factory.mktemp("own_head")
    write_own_head(path)
    return path


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> list[list[int]]:
    """Return transformers' answers about a few pictures."""
    pictures = [random_picture(np.random.default_rng(seed)) for seed in range(PICTURES)]
    return [transformers_answer(checkpoint, picture, GEOMETRY.num_image_tokens) for picture in pictures]


def answers(model: f2edge.Florence2) -> list[list[int]]:
    """Return a model's answers about the same pictures."""
    images = [model.encode(random_picture(np.random.default_rng(seed))) for seed in range(PICTURES)]
    sessions = [model.runtime.start(image.features, np.array(PROMPT)) for image in images]
    return [list(generate(session, model.settings()).token_ids) for session in sessions]


@pytest.mark.parametrize("tied", [None, False, True])
def test_the_reference_has_the_head_of_the_file(checkpoint: Path, tied: bool | None) -> None:
    """What the file holds counts, and not what the config says of it."""
    say_tied(checkpoint, tied)
    loaded = load_checkpoint(checkpoint)
    head = load_file(checkpoint / "model.safetensors")["lm_head.weight"]
    assert torch.equal(loaded.model.state_dict()["lm_head.weight"], head)
    picture = random_picture(np.random.default_rng(0))
    runtime = TorchRuntime(loaded.model)
    features = runtime.encode_image(model_pixels(picture, loaded.model.geometry))
    answer = generate(runtime.start(features, np.array(PROMPT)), loaded.settings)
    assert list(answer.token_ids) == transformers_answer(checkpoint, picture, GEOMETRY.num_image_tokens)


@pytest.mark.parametrize(
    ("target", "precision"), [("cpu", "fp16"), ("onnx", "fp32"), ("npu", "fp32"), ("jetson", "fp16")]
)
def test_engines_with_a_head_of_its_own(
    target: str, precision: Precision, checkpoint: Path, stages: Path, expected: list[list[int]], tmp_path: Path
) -> None:
    """Each target is verified when it is compiled; in fp32 the tokens are those of transformers."""
    bundle = build(checkpoint, tmp_path / "bundle", Options(TARGETS[target], precision, stages=stages))
    assert bundle.verified is not None
    assert bundle.verified.passed
    if precision == "fp32":
        assert answers(f2edge.load(tmp_path / "bundle", "CPU")) == expected


@pytest.mark.parametrize(("target", "decoder_weights"), [("onnx", "int8"), ("onnx", "int4"), ("cpu", "int8")])
def test_int8_with_a_head_of_its_own(
    target: str, decoder_weights: WeightFormat, checkpoint: Path, stages: Path, tmp_path: Path
) -> None:
    """Head and embedding are quantized, each for itself; prompts are looked up in the embedding's bytes."""
    write_pictures(tmp_path / "pictures", 3)
    options = Options(
        TARGETS[target],
        "int8",
        calibration=tmp_path / "pictures",
        samples=3,
        decoder_weights=decoder_weights,
        stages=stages,
    )
    bundle = build(checkpoint, tmp_path / "bundle", options)
    assert bundle.verified is not None
    assert bundle.verified.passed
    assert all(len(tokens) > 3 for tokens in answers(f2edge.load(tmp_path / "bundle")))
    if target == "onnx":
        assert_tables_are_bytes(tmp_path / "bundle")


def assert_tables_are_bytes(bundle: Path) -> None:
    """Neither graph of language holds a float table of the vocabulary."""
    table = GEOMETRY.vocab_size * GEOMETRY.d_model
    for component, tables in (("encoder", 1), ("decoder", 2)):
        graph = onnx.load(bundle / f"{component}.onnx", load_external_data=False).graph
        kinds = [tensor.data_type for tensor in graph.initializer if math.prod(tensor.dims) == table]
        assert kinds == [onnx.TensorProto.UINT8] * tables, component


def test_a_head_that_config_promises_and_no_file_holds(checkpoint: Path, tmp_path: Path) -> None:
    """The embedding is taken, and the user is told: transformers would take random numbers."""
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint, copy)
    tensors = load_file(copy / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    for tied, notices in ((False, 1), (None, 0)):
        say_tied(copy, tied)
        loaded = load_checkpoint(copy)
        assert "lm_head.weight" not in loaded.model.state_dict()
        assert [notice[:38] for notice in loaded.notices] == ["config.json: tie_word_embeddings is fa"] * notices


def test_a_head_of_another_size(checkpoint: Path, tmp_path: Path) -> None:
    """It is named like any tensor of a wrong shape."""
    copy = tmp_path / "copy"
    shutil.copytree(checkpoint, copy)
    tensors = load_file(copy / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"][:-1].clone()
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"wrong tensors \(1\): misshapen: lm_head.weight is \[1599, 64\]"):
        load_checkpoint(copy)
