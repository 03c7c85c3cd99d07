"""What cannot be merged right is refused in one line that names the adapter, what is wrong, and what to do."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.options import Lora
from f2edge.errors import CheckpointError
from tests.support.adapters import change_config, modules, write_adapter, write_base
from tests.support.checkpoints import write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TENSORS = "adapter_model.safetensors"
LAYER = "language_model.model.encoder.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint."""
    return write_base(tmp_path_factory.mktemp("base"), "microsoft")


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an adapter that fits it."""
    path = tmp_path_factory.mktemp("adapter")
    write_adapter(path, modules(load_checkpoint(base).model, "microsoft"), r=4, target_modules=["q_proj"])
    return path


@pytest.fixture
def adapter(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the adapter, which a test may damage."""
    return shutil.copytree(trained, tmp_path / "adapter")


def refused(base: Path, adapter: Path) -> str:
    """Return the error of an adapter that must be refused, with ADAPTER for its path."""
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(base, loras=[Lora(adapter)])
    message = str(error.value).replace(str(adapter), "ADAPTER").replace(str(base), "BASE")
    assert "\n" not in message
    return message


def change_tensors(adapter: Path, change: Callable[[str, torch.Tensor], tuple[str, torch.Tensor] | None]) -> None:
    """Replace the name and the tensor of each entry, or leave it out."""
    entries = (change(name, tensor) for name, tensor in load_file(adapter / TENSORS).items())
    save_file(dict(filter(None, entries)), adapter / TENSORS)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'; only LORA can be merged"),
        ({"peft_type": None}, "peft_type is None"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens cannot be merged into the weights"),
        ({"trainable_token_indices": [5], "use_qalora": True}, "trainable_token_indices, use_qalora cannot be merged"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' changes the base too; save the adapter again"),
        ({"r": 0}, "the rank r is 0; it must be a whole number from 1"),
        ({"r": 8}, "layers.0.encoder_attn.q_proj: its rank is 4, adapter_config.json says 8"),
        ({"rank_pattern": {"q_proj": "4"}}, "the rank q_proj is '4'"),
        ({"rank_pattern": {"(": 4}}, "rank_pattern: '(' is no regular expression"),
        ({"alpha_pattern": [4]}, "alpha_pattern is [4]; it must be an object"),
        ({"lora_alpha": 10**400}, "alpha lora_alpha is 1000"),
        ({"r": 10**400}, "the rank r is 1000"),
        ({"lora_alpha": float("nan")}, "the alpha lora_alpha is nan; it must be a number"),
    ],
)
def test_configs(config: dict[str, Any], message: str, base: Path, adapter: Path) -> None:
    """Other kinds of adapters, kinds of LoRA that no weight can express, and values that no training writes."""
    change_config(adapter, **config)
    line = refused(base, adapter)
    assert line.startswith("BASE: `lora` ADAPTER: ")
    assert message in line


def test_no_adapter(base: Path, adapter: Path) -> None:
    """A missing directory, a missing file, pickled tensors and damaged tensors are each named."""
    assert "it is no directory; give the one that holds" in refused(base, adapter / "none")
    (adapter / TENSORS).write_bytes(b"damaged")
    assert f"ADAPTER/{TENSORS} is damaged or cut off" in refused(base, adapter)
    (adapter / TENSORS).rename(adapter / "adapter_model.bin")
    assert f"{TENSORS} is missing; adapter_model.bin is not read" in refused(base, adapter)
    (adapter / "adapter_model.bin").unlink()
    assert refused(base, adapter).endswith(f"{TENSORS} is missing")
    save_file({}, adapter / TENSORS)
    assert f"{TENSORS} holds no tensors" in refused(base, adapter)
    (adapter / "adapter_config.json").unlink()
    assert "adapter_config.json is missing" in refused(base, adapter)


def test_another_base(adapter: Path, tmp_path: Path) -> None:
    """The first layers are named with both shapes, and the others are counted."""
    write_checkpoint(tmp_path / "wider", d_model=96)
    message = refused(tmp_path / "wider", adapter)
    assert "it does not fit the base (6): " in message
    assert "encoder_attn.q_proj: it changes [64, 64], the base has [96, 96]" in message
    assert "more" in message


def test_fewer_layers(adapter: Path, tmp_path: Path) -> None:
    """Layers that the base lacks are named."""
    write_checkpoint(tmp_path / "shallow", encoder_layers=1)
    line = "it does not fit the base (1): language_model.model.encoder.layers.1.self_attn.q_proj: the base has no such"
    assert line in refused(tmp_path / "shallow", adapter)


def test_names_that_match_nothing(base: Path, adapter: Path) -> None:
    """An adapter of another model is refused, and so is one with a tensor that belongs to nothing."""
    change_tensors(adapter, lambda name, tensor: (name.replace("language_model", "florence"), tensor))
    assert "florence.model.decoder.layers.0.encoder_attn.q_proj: the base has no such weight" in refused(base, adapter)


@pytest.mark.parametrize("shape", [(), (0,), (4,), (4, 4, 4), (4, 64, 1, 1), (4, 64, 3, 3)], ids=str)
@pytest.mark.parametrize("role", ["A", "B"])
def test_shapes_that_no_layer_has(role: str, shape: tuple[int, ...], base: Path, adapter: Path) -> None:
    """Whatever a matrix is in place of one, the layer is named."""
    odd = f"base_model.model.{LAYER}.lora_{role}.weight"
    change_tensors(adapter, lambda name, tensor: (name, torch.ones(shape) if name == odd else tensor))
    assert f"it does not fit the base (1): {LAYER}: " in refused(base, adapter)


@pytest.mark.parametrize("role", ["A", "B"])
def test_half_a_layer(role: str, base: Path, adapter: Path) -> None:
    """Of the two matrices neither may be missing."""
    lost = f"base_model.model.{LAYER}.lora_{role}.weight"
    change_tensors(adapter, lambda name, tensor: None if name == lost else (name, tensor))
    assert f"{LAYER}: lora_{role} is missing" in refused(base, adapter)


def test_values_that_are_not_finite(base: Path, adapter: Path) -> None:
    """They would spoil every answer."""
    change_tensors(adapter, lambda name, tensor: (name, tensor * float("nan")))
    assert "not finite" in refused(base, adapter)


def test_shapes_that_do_not_belong_together(base: Path, adapter: Path) -> None:
    """Two matrices that no product has are named with their shapes."""
    name = f"base_model.model.{LAYER}.lora_B.weight"
    change_tensors(adapter, lambda n, tensor: (n, tensor[:, :3].clone() if n == name else tensor))
    assert f"{LAYER}: [4, 64] and [64, 3] cannot be multiplied" in refused(base, adapter)
