"""Adapters are merged as peft merges them: every kind, in the names of both layouts, onto bases of both layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from f2edge.bundle.manifest import sha256
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.checkpoint.names import with_aliases
from f2edge.compile.options import Lora
from tests.support.adapters import RSLORA, WHOLE_MODEL, merged_by_peft, modules, write_adapter, write_base

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from f2edge.compile.checkpoint.names import Layout

LAYOUTS = ("microsoft", "transformers")
CONVOLUTION = {"microsoft": r".*convs\.\d\.proj", "transformers": r".*convs\.\d\.conv"}
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


def weights_of(base: Path, *loras: Lora) -> dict[str, Tensor]:
    """Return the weights of the compiled model, with the embedding under all of its names."""
    return with_aliases(load_checkpoint(base, loras=loras).model.state_dict())


def assert_close(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """All weights that a model reads are equal to 1e-6."""
    for name, tensor in expected.items():
        if name != "encoder.embed_tokens.weight":  # the encoder gets embeddings ready-made
            torch.testing.assert_close(weights[name], tensor, rtol=0, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trained", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_merged_as_by_peft(layout: Layout, trained: Layout, kind: str, tmp_path: Path) -> None:
    """The weights equal those of merge_and_unload, and differ from those of the base."""
    reference = write_base(tmp_path / "base", layout)
    before = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    adapted = write_adapter(tmp_path / "adapter", modules(reference, trained), **KINDS[kind])
    expected = merged_by_peft(adapted, reference)
    assert any(not torch.equal(expected[name], before[name]) for name in before if name in expected)
    weights = weights_of(tmp_path / "base", Lora(tmp_path / "adapter"))
    assert_close(weights, expected)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("trained", LAYOUTS)
def test_convolutions(trained: Layout, dora: bool, tmp_path: Path) -> None:
    """The convolutions between the stages are merged like linear layers."""
    reference = write_base(tmp_path / "base", "microsoft")
    config: dict[str, Any] = {"target_modules": CONVOLUTION[trained], "r": 4, "use_dora": dora}
    adapted = write_adapter(tmp_path / "adapter", modules(reference, trained), **config)
    expected = merged_by_peft(adapted, reference)
    assert_close(weights_of(tmp_path / "base", Lora(tmp_path / "adapter")), expected)
