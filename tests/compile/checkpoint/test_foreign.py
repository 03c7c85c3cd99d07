"""Directories that hold something else than a float checkpoint: one line says what it is and what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.errors import CheckpointError
from tests.support.checkpoints import write_checkpoint, write_json

if TYPE_CHECKING:
    from pathlib import Path

LONGEST = 200


def refusal(directory: Path) -> str:
    """Return the message about a directory, without its path."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(directory)
    message = str(caught.value).replace(str(directory), "DIR")
    assert len(message) <= LONGEST
    assert "\n" not in message
    return message


@pytest.mark.parametrize("base", ["microsoft/Florence-2-base", None, "a/" + "b" * 500])
def test_an_adapter(base: str | None, tmp_path: Path) -> None:
    """The directory of an adapter names its base model, and how to compile the two."""
    write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA", "base_model_name_or_path": base})
    save_file({"base_model.model.lora_A.weight": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    message = refusal(tmp_path)
    assert message.startswith("DIR: it is an adapter: compile ")
    assert (base or "its base model")[:60] in message
    assert message.endswith(", and give this directory as `lora`")


def test_a_merged_model_beside_its_adapter(tmp_path: Path) -> None:
    """A whole model that keeps the files of its adapter beside it loads."""
    write_checkpoint(tmp_path)
    write_json(tmp_path / "adapter_config.json", {"peft_type": "LORA"})
    assert load_checkpoint(tmp_path).model.training is False


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", None])
def test_a_config_of_a_quantized_model(method: str | None, tmp_path: Path) -> None:
    """The config of a quantized model names the method."""
    write_checkpoint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    write_json(tmp_path / "config.json", {**config, "quantization_config": {"quant_method": method, "bits": 4}})
    assert f"its weights are quantized ({method or 'quantization_config'})" in refusal(tmp_path)


TENSORS: dict[str, dict[str, Any]] = {
    "bitsandbytes, 4 bits": {"absmax": torch.zeros(9), "quant_map": torch.zeros(16)},
    "bitsandbytes, 8 bits": {"SCB": torch.zeros(9)},
    "GPTQ": {"qweight": torch.zeros(2, dtype=torch.int32), "qzeros": torch.zeros(2, dtype=torch.int32)},
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_of_a_quantized_model(kind: str, tmp_path: Path) -> None:
    """Without a word in the config, the names of the tensors tell; the line has one of them, not thousands."""
    write_checkpoint(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    weights = [name for name in tensors if name.endswith("fc1.weight")]
    added = {f"{name}.{part}": value.clone() for name in weights for part, value in TENSORS[kind].items()}
    save_file({**tensors, **added}, tmp_path / "model.safetensors")
    assert "its weights are quantized (" in refusal(tmp_path)


def test_checkpoints_in_sub_folders(tmp_path: Path) -> None:
    """A directory whose checkpoints are inside its sub-folders names them."""
    for name in ("checkpoint-500", "checkpoint-900", "epoch_3", "last"):
        write_checkpoint(tmp_path / name)
    assert refusal(tmp_path) == (
        "DIR: config.json is missing; give one of its directories: checkpoint-500, checkpoint-900, epoch_3, ..."
    )


def test_other_files(tmp_path: Path) -> None:
    """An empty directory and one with a GGUF file are refused."""
    assert refusal(tmp_path) == "DIR: config.json is missing; a checkpoint has it beside its weights"
    (tmp_path / "model.gguf").touch()
    assert "a GGUF file cannot be compiled" in refusal(tmp_path)


def test_many_wrong_tensors_are_counted(tmp_path: Path) -> None:
    """A model of another kind gives one line of the usual length: the first faults, and the number of the others."""
    write_checkpoint(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: each for name, each in tensors.items() if "spatial_block" not in name}, tmp_path / "model.safetensors"
    )
    assert " more" in refusal(tmp_path)
