"""Loading a checkpoint directory: both layouts, and every fault of the tensors in one line."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from f2edge.compile.checkpoint import load as module
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.checkpoint.names import to_microsoft
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import CheckpointError
from tests.support.checkpoints import (
    GENERATION,
    TINY,
    microsoft_config,
    preprocessor_config,
    random_model,
    write_checkpoint,
    write_json,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

BIAS = "language_model.final_logits_bias"
TEMPORAL = "visual_temporal_embed.pos_idx_to_embed"


@pytest.fixture
def directory(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny checkpoint, which a test may damage."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "copy")


@pytest.fixture(scope="module")
def tensors(tiny_checkpoint: Path) -> dict[str, Tensor]:
    """Return the tensors of the tiny checkpoint."""
    return load_file(tiny_checkpoint / "model.safetensors")


def edit(path: Path, **values: Any) -> None:
    """Set values of a JSON file."""
    data = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, {**data, **values})


def test_microsofts_layout(tiny_checkpoint: Path) -> None:
    """The model equals what was written, in fp32, in evaluation mode, without gradients, with its settings."""
    loaded = load_checkpoint(tiny_checkpoint)
    expected = random_model(TINY).state_dict()
    assert loaded.layout == "microsoft"
    assert loaded.model.geometry == TINY
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    state = loaded.model.state_dict()
    assert state.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(state[name], expected[name])] == []
    assert loaded.settings == GenerationSettings(max_new_tokens=TINY.decoder_positions)


def test_transformers_layout(directory: Path) -> None:
    """Tensor names, config names, generation_config.json and processor_config.json of transformers are read."""
    state = random_model(TINY, seed=3).state_dict()
    text = ("shared", "encoder", "decoder")
    names = {name: ("model.language_model." if name.startswith(text) else "model.") + name for name in state}
    del names["final_logits_bias"]
    save_file({names[name]: state[name] for name in names}, directory / "model.safetensors")
    config = microsoft_config(TINY)
    config["vision_config"]["embed_dim"] = config["vision_config"].pop("dim_embed")
    write_json(directory / "config.json", config)
    write_json(directory / "generation_config.json", {**GENERATION, "num_beams": 5, "early_stopping": False})
    edit(directory / "preprocessor_config.json", size={"height": 32, "width": 32})  # the other file comes first
    size = {"height": 64, "width": 128}
    write_json(
        directory / "processor_config.json",
        {"image_processor": {**preprocessor_config(TINY), "size": size, "image_mean": 0.5}},
    )
    loaded = load_checkpoint(directory)
    assert loaded.layout == "transformers"
    assert loaded.model.geometry == replace(TINY, image_size=(64, 128), image_mean=(0.5, 0.5, 0.5))
    assert loaded.notices == ()
    assert (loaded.settings.num_beams, loaded.settings.early_stopping) == (5, False)
    assert torch.equal(loaded.model.state_dict()["shared.weight"], state["shared.weight"])


def test_microsofts_generation_config_is_not_read(directory: Path) -> None:
    """It is ignored even if it contradicts the text config, as that of Florence-2-large does."""
    write_json(directory / "generation_config.json", {"num_beams": 5, "early_stopping": False})
    settings = load_checkpoint(directory).settings
    assert (settings.num_beams, settings.early_stopping) == (3, True)


def test_a_bias_of_the_logits_is_added(directory: Path, tensors: dict[str, Tensor]) -> None:
    """The bias is added to the logits; if it is absent, it is zero."""
    pixels, ids, labels = torch.zeros(1, 3, 96, 96), torch.tensor([[0, 9, 2]]), torch.tensor([[0, 5, 2]])
    bias = torch.randn(1, TINY.vocab_size)
    logits = []
    for tensor in (bias, None):
        changed = {name: value for name, value in tensors.items() if name != BIAS}
        save_file({**changed, **({} if tensor is None else {BIAS: tensor})}, directory / "model.safetensors")
        logits.append(load_checkpoint(directory).model(pixels, ids, labels=labels).logits)
    torch.testing.assert_close(logits[0], logits[1] + bias)


def test_the_temporal_table_follows_from_its_size(directory: Path, tensors: dict[str, Tensor]) -> None:
    """Without the table in the file, the features are the same; row 0 is 0 on even channels, 1 on odd ones."""
    save_file({k: v for k, v in tensors.items() if k != TEMPORAL}, directory / "model.safetensors")
    table = load_checkpoint(directory).model.multi_modal_projector.visual_temporal_embed.pos_idx_to_embed
    assert table[0].tolist() == [0.0, 1.0] * (TINY.vision.embed_dim[-1] // 2)
    torch.testing.assert_close(table[: len(tensors[TEMPORAL])], tensors[TEMPORAL])


def test_every_fault_of_the_tensors_in_one_line(directory: Path, tensors: dict[str, Tensor]) -> None:
    """One message names a missing, an unexpected and a misshapen tensor, and no other."""
    changed = dict(tensors)
    del changed["language_model.model.encoder.layers.1.fc2.bias"]
    changed["language_model.model.encoder.extra.x"] = torch.zeros(1)
    changed["image_proj_norm.weight"] = torch.zeros(3)
    save_file(changed, directory / "model.safetensors")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(directory)
    message = str(error.value)
    assert "missing: language_model.model.encoder.layers.1.fc2.bias" in message
    assert "unexpected: language_model.model.encoder.extra.x" in message
    assert "misshapen: image_proj_norm.weight is [3], expected [64]" in message
    assert message.startswith(f"{directory}: wrong tensors (3): ")
    assert "\n" not in message


SIZED = ("encoder.layers.0.fc1.weight", "decoder.layers.1.fc1.bias", "encoder.layernorm_embedding.weight")


def test_a_misshapen_tensor_is_not_blamed_on_the_config(directory: Path, tensors: dict[str, Tensor]) -> None:
    """If other tensors confirm the sizes, misshapen tensors are named or counted, and nothing else."""
    wrong = [f"language_model.model.{name}" for name in SIZED]
    wrong += ["vision_tower.blocks.2.0.spatial_block.ffn.fn.net.fc1.weight", "vision_tower.convs.1.proj.weight"]
    changed = {**tensors, **{name: torch.zeros([5] * tensors[name].dim()) for name in wrong}}
    save_file(changed, directory / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"wrong tensors \(5\): misshapen") as error:
        load_checkpoint(directory)
    named = [name for name in wrong if f"misshapen: {name} is [5" in str(error.value)]
    assert named
    assert str(error.value).count(": misshapen") + str(error.value).count("; misshapen") == len(named)
    assert str(error.value).endswith(f"; and {len(wrong) - len(named)} more")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.complex64], ids=str)
def test_weights_that_are_not_floats(dtype: torch.dtype, directory: Path, tensors: dict[str, Tensor]) -> None:
    """Integers of a quantized checkpoint are refused, because they mean nothing without their scales."""
    name = "vision_tower.convs.0.proj.weight"
    save_file({**tensors, name: tensors[name].to(dtype)}, directory / "model.safetensors")
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(CheckpointError, match=rf"wrong tensors \(1\): not floats: {name} holds {kind}$"):
        load_checkpoint(directory)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_weights_that_are_not_finite(
    value: float, dtype: torch.dtype, directory: Path, tensors: dict[str, Tensor]
) -> None:
    """A single NaN or infinity is refused, in every float type."""
    name = "language_model.model.decoder.layers.1.fc2.weight"
    spoilt = tensors[name].to(dtype, copy=True)
    spoilt[3, 7] = value
    save_file({**tensors, name: spoilt}, directory / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"wrong tensors \(1\): not finite: {name}$"):
        load_checkpoint(directory)


def test_nonsense_of_the_preprocessor_is_named(directory: Path) -> None:
    """A wrong image size is refused with the directory's name instead of being replaced by a default."""
    edit(directory / "preprocessor_config.json", size={"height": 0, "width": 96})
    with pytest.raises(CheckpointError, match="image size 0x96: both sides must be positive") as error:
        load_checkpoint(directory)
    assert str(directory) in str(error.value)


@pytest.mark.parametrize("sparse", [False, True])
def test_each_missing_tensor_is_named(
    sparse: bool, directory: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing tensor of each kind is named alone, also if the config says no more than it must."""
    if sparse:
        config = microsoft_config(TINY)
        heads = ("encoder_attention_heads", "decoder_attention_heads")
        config["text_config"] = {name: config["text_config"][name] for name in heads}
        del config["vision_config"]["dim_embed"], config["vision_config"]["depths"]
        write_json(directory / "config.json", config)
    kinds = {re.sub(r"[1-9]", "N", name): name for name in tensors.keys() - {BIAS, TEMPORAL}}
    assert len(kinds) > 100
    for name in kinds.values():
        rest = {other: tensor for other, tensor in tensors.items() if other != name}
        monkeypatch.setattr(module, "read_tensors", lambda _, rest=rest: rest)
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(directory)
        named = name if not sparse or "shared" not in name else "shared.weight"  # before names are mapped back
        assert str(error.value) == f"{directory}: wrong tensors (1): missing: {named}"


def _names() -> dict[str, str]:
    """Return the reference's names by Microsoft's."""
    state = random_model(TINY).state_dict()
    numbered = {name: torch.full((1, 1), float(i)) for i, name in enumerate(state)}
    names = list(state)
    return {names[int(value)]: name for name, value in to_microsoft(numbered).items()}


@pytest.mark.parametrize("shape", [(0,), (0, 0), (), (1,), (2, 2), (1, 1, 1, 1)])
def test_misshapen_tensors_are_named(
    shape: tuple[int, ...], tiny_checkpoint: Path, tensors: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors from which sizes are read are named for any wrong shape; no Python error escapes."""
    # If the config lacks a size, the tensor is reported under its name in the reference.
    reference = {to: name for name, to in _names().items()}
    tables = ("shared.weight", "embed_positions.weight", "row_embeddings.weight", TEMPORAL, BIAS)
    sized = ("convs.0.proj.weight", "layers.0.fc1.weight", "net.fc1.weight", "image_projection", *tables)
    for name in [name for name in tensors if name.endswith(sized)]:
        monkeypatch.setattr(module, "read_tensors", lambda _, name=name: {**tensors, name: torch.zeros(shape)})
        with pytest.raises(CheckpointError) as error:
            load_checkpoint(tiny_checkpoint)
        assert "\n" not in str(error.value)
        assert name in str(error.value) or reference[name] in str(error.value)


def test_no_embedding_at_all(directory: Path, tensors: dict[str, Tensor]) -> None:
    """A missing embedding is an error; a random one would give endless nonsense."""
    rest = {name: tensor for name, tensor in tensors.items() if "shared" not in name and "embed_tokens" not in name}
    save_file(rest, directory / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"missing: language_model.model.shared.weight$"):
        load_checkpoint(directory)


def test_a_missing_config_and_a_wrong_one(directory: Path) -> None:
    """A missing config and another model's config are refused by name; nothing is guessed."""
    (directory / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is not valid JSON"):
        load_checkpoint(directory)
    write_json(directory / "config.json", {"model_type": "bert"})
    with pytest.raises(CheckpointError, match=r"config.json has no vision_config"):
        load_checkpoint(directory)
    (directory / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config.json is missing"):
        load_checkpoint(directory)


def test_the_requested_image_size(directory: Path) -> None:
    """It replaces the processor's size, even one that does not fit."""
    edit(directory / "preprocessor_config.json", size={"height": 768, "width": 768})
    with pytest.raises(CheckpointError, match="image size 768x768 is over what this checkpoint's tables allow: 640"):
        load_checkpoint(directory)
    assert load_checkpoint(directory, image_size=160).model.geometry.image_size == (160, 160)
    for size in (0, -32, 100):
        with pytest.raises(CheckpointError, match="positive multiples of 32"):
            load_checkpoint(directory, image_size=size)


def test_the_image_size_asked_for_and_pictures_that_are_cut(directory: Path) -> None:
    """Which of the two sizes it would replace is not clear; a cut that cuts nothing off is no obstacle."""
    edit(directory / "preprocessor_config.json", do_center_crop=True, crop_size=96)
    assert load_checkpoint(directory, image_size=160).model.geometry.image_size == (160, 160)
    edit(directory / "preprocessor_config.json", crop_size=64)
    with pytest.raises(CheckpointError, match=r"`image_size` 160 does not go with .*do_center_crop true"):
        load_checkpoint(directory, image_size=160)


def test_a_missing_image_processor_is_named(directory: Path) -> None:
    """Neither the image size nor the colours can be guessed."""
    (directory / "preprocessor_config.json").unlink()
    write_json(directory / "processor_config.json", {"processor_class": "Florence2Processor"})
    for image_size in (None, 96):
        with pytest.raises(CheckpointError, match=r"preprocessor_config\.json is missing") as error:
            load_checkpoint(directory, image_size)
        assert str(directory) in str(error.value)


def test_an_image_processor_that_does_not_say_whether_to_cut(directory: Path) -> None:
    """Transformers would cut to 224 pixels, whatever the size: the user is told that f2edge does not."""
    path = directory / "preprocessor_config.json"
    config = preprocessor_config(TINY)
    del config["do_center_crop"]
    write_json(path, config)
    loaded = load_checkpoint(directory)
    assert loaded.model.geometry == TINY
    (notice,) = loaded.notices
    assert notice.startswith("preprocessor_config.json does not say do_center_crop, and transformers would cut")
    assert load_checkpoint(directory, image_size=64).notices == ()
    edit(path, crop_size=64)
    loaded = load_checkpoint(directory)
    assert (loaded.model.geometry.image_size, loaded.notices) == ((64, 64), ())


def test_rectangular_images(tmp_path: Path) -> None:
    """Height and width keep their order from the config to the features."""
    write_checkpoint(tmp_path, image_size=(64, 160))
    model = load_checkpoint(tmp_path).model
    assert model.geometry.image_size == (64, 160)
    assert model.encode_image(torch.zeros(1, 3, 64, 160)).shape == (1, 2 * 5 + 1, TINY.d_model)


def test_a_checkpoint_without_its_tokenizer(directory: Path) -> None:
    """A missing tokenizer is named."""
    (directory / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"a checkpoint needs its tokenizer.json"):
        load_checkpoint(directory)
