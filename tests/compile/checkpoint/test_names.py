"""Tensor names of both layouts, and the embedding that four names share (docs/florence2.md#checkpoint-layouts)."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
import torch

from f2edge.compile.checkpoint.names import detect, file_name, to_microsoft, to_reference
from f2edge.errors import CheckpointError
from tests.support.checkpoints import TINY, random_model

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDING = {
    "microsoft": (
        "language_model.model.shared.weight",
        "language_model.model.encoder.embed_tokens.weight",
        "language_model.model.decoder.embed_tokens.weight",
        "language_model.lm_head.weight",
    ),
    "transformers": (
        "model.language_model.shared.weight",
        "model.language_model.encoder.embed_tokens.weight",
        "model.language_model.decoder.embed_tokens.weight",
        "lm_head.weight",
    ),
}
SUBSETS = [subset for size in (1, 2, 3, 4) for subset in combinations(range(4), size)]


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the reference's tensors under transformers' names (docs/florence2.md#checkpoint-layouts)."""
    return {
        ("model.language_model." if name.startswith(("shared", "encoder", "decoder")) else "model.") + name: tensor
        for name, tensor in state.items()
        if name != "final_logits_bias"
    }


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Return the reference's own tensors, with a bias that differs from zeros."""
    state = random_model(TINY).state_dict()
    state["final_logits_bias"] = torch.arange(float(TINY.vocab_size))[None]
    return state


def files(state: dict[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Return the tensors under the names of a file in ``layout``."""
    return to_microsoft(state) if layout == "microsoft" else to_transformers(state)


def assert_equal(tensors: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Check that names and values are equal."""
    assert tensors.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(tensors[name], expected[name])] == []


def test_microsofts_names_and_back(state: dict[str, Tensor]) -> None:
    """Every tensor is unchanged after renaming there and back, the transposed projection and the bias included."""
    names = to_microsoft(state)
    assert names["image_projection"].shape == (TINY.vision.embed_dim[-1], TINY.d_model)
    assert "vision_tower.blocks.2.1.channel_block.channel_attn.fn.qkv.bias" in names
    assert "vision_tower.blocks.0.0.spatial_block.window_attn.norm.weight" in names
    assert "language_model.model.decoder.layers.1.encoder_attn.k_proj.weight" in names
    assert_equal(to_reference(names), state)


def test_transformers_names(state: dict[str, Tensor]) -> None:
    """Every tensor in transformers' names gets its reference name; there is no bias among them."""
    expected = {name: tensor for name, tensor in state.items() if name != "final_logits_bias"}
    assert_equal(to_reference(to_transformers(state)), expected)


def test_layouts_are_detected_by_their_names() -> None:
    """The prefix of the vision tower's names alone decides the layout."""
    assert detect(["x", "vision_tower.convs.0.proj.weight"]) == "microsoft"
    assert detect(["x", "model.vision_tower.convs.0.conv.weight"]) == "transformers"
    for names in ([], ["model.encoder.layers.0.fc1.weight"], ["my_vision_tower.x"]):
        with pytest.raises(CheckpointError, match="not a Florence-2 checkpoint"):
            detect(names)


@pytest.mark.parametrize("layout", EMBEDDING)
@pytest.mark.parametrize("subset", SUBSETS)
def test_one_name_of_the_embedding_is_enough(layout: str, subset: tuple[int, ...], state: dict[str, Tensor]) -> None:
    """Any of the four names is enough, and equal copies count as one tensor."""
    tensors = files(state, layout)
    embedding = tensors.pop(EMBEDDING[layout][0])
    tensors |= {EMBEDDING[layout][i]: embedding.clone() for i in subset}
    state_dict = to_reference(tensors)
    assert torch.equal(state_dict["shared.weight"], embedding)
    assert not [name for name in state_dict if "embed_tokens" in name or "lm_head" in name]


@pytest.mark.parametrize("layout", EMBEDDING)
@pytest.mark.parametrize("different", range(1, 3))
def test_embeddings_that_differ_are_refused(layout: str, different: int, state: dict[str, Tensor]) -> None:
    """Copies of the embedding that differ in one value or in size are refused."""
    tensors = files(state, layout)
    embedding = tensors[EMBEDDING[layout][0]]
    changed = embedding.clone()
    changed[-1, -1] += 1
    for wrong in (changed, embedding[:-1]):
        with pytest.raises(CheckpointError, match=r"should be tied to shared.weight") as error:
            to_reference({**tensors, EMBEDDING[layout][different]: wrong})
        assert str(error.value).count(".weight") == 2


@pytest.mark.parametrize("layout", EMBEDDING)
def test_a_head_that_differs_is_kept(layout: str, state: dict[str, Tensor]) -> None:
    """It has weights of its own, and goes back under the name that it had."""
    tensors = files(state, layout)
    head = tensors[EMBEDDING[layout][0]].clone()
    head[-1, -1] += 1
    state_dict = to_reference({**tensors, EMBEDDING[layout][3]: head})
    assert torch.equal(state_dict["lm_head.weight"], head)
    assert torch.equal(state_dict["shared.weight"], tensors[EMBEDDING[layout][0]])
    assert file_name("lm_head.weight", layout) == EMBEDDING[layout][3]  # type: ignore[arg-type]
    if layout == "microsoft":
        assert torch.equal(to_microsoft(state_dict)[EMBEDDING[layout][3]], head)


def test_two_names_for_one_tensor_are_refused(state: dict[str, Tensor]) -> None:
    """A mixture of layouts is refused, because one of two tensors would be dropped without notice."""
    tensors = to_microsoft(state)
    extra = {"image_proj_norm.weight": "multi_modal_projector.image_proj_norm.weight"}
    for name, same in extra.items():
        with pytest.raises(CheckpointError, match=f"{same}.*{name}|{name}.*{same}"):
            to_reference({**tensors, same: torch.zeros_like(tensors[name])})


@pytest.mark.parametrize("shape", [(), (64,), (64, 64, 1)])
def test_a_misshapen_projection_is_left_to_the_check_of_shapes(
    shape: tuple[int, ...], state: dict[str, Tensor]
) -> None:
    """Transposing a projection of a wrong shape neither fails nor warns."""
    state_dict = to_reference({**to_microsoft(state), "image_projection": torch.zeros(shape)})
    assert state_dict["multi_modal_projector.image_projection.weight"].shape == shape
