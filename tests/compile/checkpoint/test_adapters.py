"""Adapters are merged as peft merges them: every kind, in the names of both layouts, onto bases of both layouts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch

from f2edge.bundle.manifest import sha256
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.checkpoint.names import file_name, with_aliases
from f2edge.compile.options import Lora
from tests.support.adapters import (
    RSLORA,
    WHOLE_MODEL,
    merged_by_peft,
    modules,
    weighted_by_peft,
    write_adapter,
    write_base,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from f2edge.compile.checkpoint.names import Layout
    from f2edge.compile.reference.model import ReferenceModel

LAYOUTS: tuple[Layout, ...] = ("microsoft", "transformers")
CONVOLUTION: dict[str, str] = {"microsoft": r".*convs\.\d\.proj", "transformers": r".*convs\.\d\.conv"}
TEXT = ["q_proj", "v_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "rslora": RSLORA,
    "whole model": WHOLE_MODEL,
    "dora": {**WHOLE_MODEL, "use_dora": True},
    "dora of tables": {"r": 4, "target_modules": ["embed_tokens", "shared", "lm_head"], "use_dora": True},
    "patterns": {
        "target_modules": TEXT,
        "r": 4,
        "lora_alpha": 6,
        "rank_pattern": {"q_proj": 2, r"encoder.layers.1.self_attn.v_proj": 6},
        "alpha_pattern": {r"layers\.0\..*_proj": 16},
    },
    "fan_in_fan_out": {"target_modules": ["fc1"], "fan_in_fan_out": True},
    "bias of the layers": {"target_modules": TEXT, "bias": "lora_only"},
    "all biases": {"target_modules": TEXT, "bias": "all"},
    "bias of B": {"target_modules": ["fc2"], "lora_bias": True},
    "whole layers": {"target_modules": TEXT, "modules_to_save": ["lm_head", "layernorm_embedding"]},
    "whole embedding": {"target_modules": TEXT, "modules_to_save": ["shared"]},
    "embedding": {"r": 4, "target_modules": ["shared"]},
    "all tables": {"r": 4, "target_modules": ["shared", "embed_tokens", "lm_head"], "use_rslora": True},
    "expression": {"target_modules": r".*decoder\.layers\.\d\.encoder_attn\..*_proj"},
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[Layout, Path]:
    """Return checkpoints of the same weights in both layouts."""
    root = tmp_path_factory.mktemp("bases")
    return {layout: write_base(root / layout, layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def reference(bases: dict[Layout, Path]) -> ReferenceModel:
    """Return the model of both."""
    return load_checkpoint(bases["microsoft"]).model


def weights_of(base: Path, *loras: Lora) -> dict[str, Tensor]:
    """Return the weights of the compiled model, with the embedding under all of its names."""
    return with_aliases(load_checkpoint(base, loras=loras).model.state_dict())


def assert_close(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """All weights that a model reads are equal to 1e-6."""
    for name, tensor in expected.items():
        if name != "encoder.embed_tokens.weight":  # the encoder gets embeddings ready-made
            assert weights[name].shape == tensor.shape
            assert (weights[name] - tensor).abs().max() <= 1e-6, name


@pytest.mark.parametrize(
    ("layout", "trained", "kind"),
    [
        *(("microsoft", "transformers", kind) for kind in KINDS),
        *(("transformers", "microsoft", kind) for kind in KINDS),
        *((layout, layout, kind) for layout in LAYOUTS for kind in ("rslora", "whole model")),
    ],
)
def test_merged_as_by_peft(
    layout: Layout,
    trained: Layout,
    kind: str,
    bases: dict[Layout, Path],
    reference: ReferenceModel,
    tmp_path: Path,
) -> None:
    """The weights equal those of merge_and_unload, and are not those of the base."""
    adapted = write_adapter(tmp_path / "adapter", modules(reference, trained), **KINDS[kind])
    expected = merged_by_peft(adapted, reference)
    before = with_aliases(reference.state_dict())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in expected.items())
    assert_close(weights_of(bases[layout], Lora(tmp_path / "adapter")), expected)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("trained", LAYOUTS)
def test_convolutions(
    trained: Layout, dora: bool, bases: dict[Layout, Path], reference: ReferenceModel, tmp_path: Path
) -> None:
    """The convolutions between the stages are merged like linear layers."""
    config: dict[str, Any] = {"target_modules": CONVOLUTION[trained], "r": 4, "use_dora": dora}
    adapted = write_adapter(tmp_path / "adapter", modules(reference, trained), **config)
    expected = merged_by_peft(adapted, reference)
    assert_close(weights_of(bases["microsoft"], Lora(tmp_path / "adapter")), expected)


@pytest.mark.parametrize("trained", LAYOUTS)
def test_depthwise_convolutions(
    trained: Layout, bases: dict[Layout, Path], reference: ReferenceModel, tmp_path: Path
) -> None:
    """An adapter of a depthwise convolution mixes its channels; peft does not merge it, so its maps are compared."""
    layers = modules(reference, trained)
    ending = "conv1.fn.dw" if trained == "microsoft" else "conv1"
    write_adapter(tmp_path / "adapter", layers, r=16, target_modules=rf".*blocks\.0\..*{re.escape(ending)}")
    loaded = load_checkpoint(bases["microsoft"], loras=[Lora(tmp_path / "adapter")])
    assert any("mix channels" in notice for notice in loaded.notices)
    name = "vision_tower.blocks.0.0.channel_block.conv1"
    maps = torch.randn(2, 16, 9, 7, generator=torch.Generator().manual_seed(1))
    expected = layers.get_submodule(file_name(f"{name}.weight", trained).removesuffix(".weight"))(maps)
    torch.testing.assert_close(loaded.model.get_submodule(name)(maps), expected, rtol=0, atol=1e-5)


def test_tables_stay_one_unless_an_adapter_tells_them_apart(
    bases: dict[Layout, Path], reference: ReferenceModel, tmp_path: Path
) -> None:
    """An adapter of one table leaves the others as they are, and those with equal values remain one."""
    for target, own in (
        ("q_proj", set()),
        ("lm_head", {"lm_head.weight"}),
        ("decoder.embed_tokens", {"decoder.embed_tokens.weight", "lm_head.weight"}),
        ("shared", {"decoder.embed_tokens.weight"}),
    ):
        write_adapter(tmp_path / target, modules(reference, "microsoft"), r=4, target_modules=[target])
        loaded = load_checkpoint(bases["microsoft"], loras=[Lora(tmp_path / target)])
        assert loaded.model.state_dict().keys() - reference.state_dict().keys() == own
        same = torch.equal(loaded.model.shared.weight, reference.shared.weight)
        assert same == (target != "shared")


@pytest.mark.parametrize("dora", [False, True])
def test_weights_of_adapters(dora: bool, bases: dict[Layout, Path], reference: ReferenceModel, tmp_path: Path) -> None:
    """Each adapter adds its weight times the change that it makes alone: 0.7 and 0.3 of one are that one."""
    for seed in (1, 2):
        config = {**WHOLE_MODEL, "use_dora": dora, "bias": "all"}
        write_adapter(tmp_path / str(seed), modules(reference, "transformers"), seed, **config)
    base = weights_of(bases["microsoft"])
    one, two = (weights_of(bases["microsoft"], Lora(tmp_path / name)) for name in "12")
    both = weights_of(bases["microsoft"], Lora(tmp_path / "1", 0.7), Lora(tmp_path / "2", 0.3))
    assert_close(both, {name: w + 0.7 * (one[name] - w) + 0.3 * (two[name] - w) for name, w in base.items()})
    assert_close(weights_of(bases["microsoft"], Lora(tmp_path / "1", 0.7), Lora(tmp_path / "1", 0.3)), one)
    assert_close(weights_of(bases["microsoft"], Lora(tmp_path / "1", 0.0)), base)


def test_sum_of_two_as_in_peft(bases: dict[Layout, Path], reference: ReferenceModel, tmp_path: Path) -> None:
    """Two adapters at 0.7 and 0.3 equal peft's weighted sum of their changes."""
    layers = modules(reference, "microsoft")
    config = {"r": 4, "target_modules": ["q_proj", "fc1"]}
    write_adapter(tmp_path / "1", modules(reference, "microsoft"), 1, **config)
    write_adapter(tmp_path / "2", modules(reference, "microsoft"), 2, **config)
    expected = merged_by_peft(weighted_by_peft(layers, {tmp_path / "1": 0.7, tmp_path / "2": 0.3}), reference)
    weights = weights_of(bases["transformers"], Lora(tmp_path / "1", 0.7), Lora(tmp_path / "2", 0.3))
    assert_close(weights, expected)


def test_the_record_of_an_adapter(bases: dict[Layout, Path], reference: ReferenceModel, tmp_path: Path) -> None:
    """It has the adapter's name without the path, the weight, and the hashes of both files."""
    write_adapter(tmp_path / "mine", modules(reference, "microsoft"), target_modules=["q_proj"])
    (record,) = load_checkpoint(bases["microsoft"], loras=[Lora(tmp_path / "mine", 0.5)]).adapters
    assert (record.name, record.weight) == ("mine", 0.5)
    files = ("adapter_config.json", "adapter_model.safetensors")
    assert record.sha256 == {name: sha256(tmp_path / "mine" / name) for name in files}


def test_targets_that_matched_nothing(bases: dict[Layout, Path], reference: ReferenceModel, tmp_path: Path) -> None:
    """The user reads which targets of the most used recipe have no tensors; with others there is no line."""
    write_adapter(tmp_path / "recipe", modules(reference, "microsoft"), **RSLORA)
    write_adapter(tmp_path / "all", modules(reference, "microsoft"), **WHOLE_MODEL)
    (notice,) = load_checkpoint(bases["microsoft"], loras=[Lora(tmp_path / "recipe")]).notices
    missed = notice.removeprefix("recipe: ").removesuffix(
        " of adapter_config.json matched nothing when the adapter was trained"
    )
    assert set(missed.split(", ")) == {"o_proj", "linear", "Conv2d"}
    assert load_checkpoint(bases["microsoft"], loras=[Lora(tmp_path / "all")]).notices == ()
