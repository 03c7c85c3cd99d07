"""Tensor names of models that were saved inside a wrapper."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file, save_file

from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.checkpoint.names import file_name
from f2edge.compile.checkpoint.wrappers import unwrapped
from f2edge.errors import CheckpointError
from tests.support.checkpoints import write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.compile.checkpoint.names import Layout

WRAPPERS: dict[str, Callable[[str], str]] = {
    "torch.compile": "_orig_mod.{}".format,
    "DataParallel": "module.{}".format,
    "both": "module._orig_mod.{}".format,
    "a training class": "model.{}".format,
    "a training class and torch.compile": "model._orig_mod.{}".format,
    "another field": "net.florence.{}".format,
    "a compiled part": lambda name: name.replace("vision_tower.", "vision_tower._orig_mod."),
}


@pytest.fixture(scope="module", params=["microsoft", "transformers"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny checkpoint in each layout."""
    path: Path = tmp_path_factory.mktemp("wrapped") / request.param
    write_checkpoint(path)
    layout: Layout = request.param
    if layout == "transformers":
        state = load_checkpoint(path).model.state_dict()
        save_file(
            {file_name(name, layout): tensor.contiguous() for name, tensor in state.items()}, path / "model.safetensors"
        )
    return path


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_checkpoint_loads(wrapper: str, checkpoint: Path, tmp_path: Path) -> None:
    """A model that was saved inside a wrapper has the weights of the model itself."""
    expected = load_checkpoint(checkpoint).model.state_dict()
    for path in checkpoint.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(checkpoint / "model.safetensors")
    save_file({WRAPPERS[wrapper](name): tensor for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path).model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_the_inner_model_of_transformers_alone(tmp_path: Path) -> None:
    """Transformers' model without its head has no prefix; its names get the one that they have in the whole model."""
    write_checkpoint(tmp_path)
    expected = load_checkpoint(tmp_path).model.state_dict()
    inner = {
        file_name(name, "transformers").removeprefix("model."): each.contiguous() for name, each in expected.items()
    }
    save_file(inner, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path).model.state_dict()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_names_without_a_wrapper_stay() -> None:
    """Names of a model that was not wrapped, and names of something else, stay as they are."""
    for names in (
        ["vision_tower.a", "language_model.model.b"],
        ["model.vision_tower.a", "model.multi_modal_projector.b", "lm_head.b"],
        ["bert.a"],
        [],
    ):
        tensors = dict.fromkeys(names, torch.zeros(1))
        assert unwrapped(tensors) == tensors


def test_a_tensor_with_and_without_the_prefix() -> None:
    """Two tensors of one name are refused: which one is right cannot be told."""
    tensors = dict.fromkeys(["_orig_mod.vision_tower.a", "vision_tower.a"], torch.zeros(1))
    with pytest.raises(CheckpointError, match="there twice, with and without a wrapper's prefix"):
        unwrapped(tensors)
