"""The tower as a backbone of detectors: its maps are those of the answers, and other libraries take it as it is."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import pytest
import torch

from f2edge.bundle.levels import levels_of
from f2edge.compile.reference.backbone import Backbone
from tests.support.checkpoints import TINY, random_model

if TYPE_CHECKING:
    from f2edge.compile.reference.model import ReferenceModel

WIDTHS, STRIDES = [16, 32, 48, 64], [4, 8, 16, 32]


@pytest.fixture(scope="module")
def model() -> ReferenceModel:
    """Return a random model."""
    return random_model(TINY)


def pixels(height: int, width: int, batch: int = 1) -> torch.Tensor:
    """Return random pixels."""
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_levels_are_those_of_timm(model: ReferenceModel) -> None:
    """Each level has a name, a stride and channels, as timm and transformers read them."""
    backbone = Backbone(model.vision_tower)
    assert backbone.feature_info[1] == {
        "name": "c3",
        "module": "vision_tower.blocks.1",
        "reduction": 8,
        "num_chs": 32,
        "index": 1,
    }
    assert backbone.feature_info.channels() == backbone.channels == WIDTHS
    assert backbone.feature_info.reduction() == STRIDES
    assert [model.get_submodule(name) for name in backbone.feature_info.module_name()] == [*model.vision_tower.blocks]
    assert backbone.out_features == backbone.stage_names == ["c2", "c3", "c4", "c5"]
    assert backbone.out_feature_channels == dict(zip(backbone.stage_names, WIDTHS, strict=True))


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_shapes_of_the_maps(model: ReferenceModel, size: tuple[int, int]) -> None:
    """A map is (B, C, H / stride, W / stride) for any multiples of 32, and a batch gives the maps of its pictures."""
    backbone, batch = Backbone(model.vision_tower), pixels(*size, batch=2)
    with torch.no_grad():
        maps = backbone(batch).feature_maps
        second = backbone(batch[1:]).feature_maps
    assert [tuple(each.shape) for each in maps] == [
        (2, channels, size[0] // stride, size[1] // stride) for channels, stride in zip(WIDTHS, STRIDES, strict=True)
    ]
    for one, all_of_them in zip(second, maps, strict=True):
        torch.testing.assert_close(one, all_of_them[1:], rtol=1e-4, atol=1e-4)


def test_the_last_map_is_what_the_projector_gets(model: ReferenceModel) -> None:
    """c5 is, to the last bit, the input of the projector when a question is answered."""
    got: list[torch.Tensor] = []
    hook = model.multi_modal_projector.register_forward_pre_hook(lambda _module, inputs: got.append(inputs[0]))
    picture = pixels(*TINY.image_size)
    with torch.no_grad():
        model.encode_image(picture)
        (c5,) = Backbone(model.vision_tower, [4]).maps(picture)
    hook.remove()
    assert torch.equal(c5.permute(0, 2, 3, 1), got[0])


def test_some_levels(model: ReferenceModel) -> None:
    """A choice of levels gives these maps only."""
    backbone, picture = Backbone(model.vision_tower, [2, 4]), pixels(64, 96)
    with torch.no_grad():
        maps, every = backbone.maps(picture), Backbone(model.vision_tower).maps(picture)
    assert (backbone.out_features, backbone.out_indices, backbone.channels) == (["c3", "c5"], [1, 3], [32, 64])
    assert [torch.equal(one, every[index]) for one, index in zip(maps, backbone.out_indices, strict=True)] == [True] * 2


@pytest.mark.parametrize(
    ("levels", "message"),
    [((0,), "the stages 1 to 4"), ((1, 5), "the stages 1 to 4"), ((2, 1), "ascend"), ((2, 2), "once")],
)
def test_levels_that_no_tower_has(model: ReferenceModel, levels: tuple[int, ...], message: str) -> None:
    """Unknown, repeated and unordered stages are refused."""
    with pytest.raises(ValueError, match=message):
        Backbone(model.vision_tower, levels)


def test_training_reaches_the_tower(model: ReferenceModel) -> None:
    """Gradients of a loss on the maps arrive at the model's own weights."""
    backbone = Backbone(model.vision_tower)
    sum(each.square().mean() for each in backbone(pixels(64, 64)).feature_maps).backward()  # type: ignore[union-attr]
    gradient = model.vision_tower.convs[0].conv.weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0
    model.zero_grad(set_to_none=True)


def convnext(backbone: Backbone) -> Any:
    """Return the configuration of a backbone of transformers with the same channels, whose place ours takes."""
    transformers = pytest.importorskip("transformers")
    stages = [f"stage{number}" for number in range(1, 5)]
    return transformers.ConvNextConfig(hidden_sizes=backbone.channels, depths=[1] * 4, out_features=stages)


def test_a_segmenter_of_transformers_takes_it(model: ReferenceModel) -> None:
    """``UperNetForSemanticSegmentation`` computes logits, a loss and gradients over the backbone."""
    transformers = pytest.importorskip("transformers")
    backbone = Backbone(model.vision_tower)
    sizes = {"hidden_size": 16, "num_labels": 3, "pool_scales": [1, 2], "auxiliary_channels": 8}
    segmenter = transformers.UperNetForSemanticSegmentation(
        transformers.UperNetConfig(backbone_config=convnext(backbone), auxiliary_in_channels=48, **sizes)
    )
    segmenter.backbone = backbone
    output = segmenter(pixels(64, 96, batch=2), labels=torch.zeros(2, 64, 96, dtype=torch.int64))
    output.loss.backward()
    assert output.logits.shape == (2, 3, 64, 96)
    assert all(parameter.grad is not None for parameter in segmenter.decode_head.parameters())
    model.zero_grad(set_to_none=True)


def test_the_encoder_of_a_detector_takes_it(model: ReferenceModel) -> None:
    """The convolutional encoder of DETR gets the maps, and masks of their sizes."""
    pytest.importorskip("transformers")
    from transformers import DetrConfig
    from transformers.models.detr.modeling_detr import DetrConvEncoder

    backbone = Backbone(model.vision_tower)
    encoder = DetrConvEncoder(DetrConfig(backbone_config=convnext(backbone), use_timm_backbone=False, backbone=None))
    assert encoder.intermediate_channel_sizes == backbone.channels
    encoder.model = backbone
    with torch.no_grad():
        levels = encoder(pixels(64, 96), torch.ones(1, 64, 96))
    assert [(tuple(each.shape[1:]), tuple(mask.shape[1:])) for each, mask in levels] == [
        ((channels, 64 // stride, 96 // stride), (64 // stride, 96 // stride))
        for channels, stride in zip(WIDTHS, STRIDES, strict=True)
    ]


def test_levels_of_a_tower() -> None:
    """Names count the stages from c2, strides are products of those of the convolutions."""
    assert [(level.name, level.reduction, level.num_chs) for level in levels_of(TINY.vision)] == [
        (f"c{stage + 2}", stride, channels)
        for stage, (stride, channels) in enumerate(zip(STRIDES, WIDTHS, strict=True))
    ]


TIMM_NAMES = (
    (r"^convs\.0\.", "stem."),
    (r"^convs\.(\d+)\.", r"stages.\1.downsample."),
    (r"^blocks\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"\.conv([12])\.", r".cpe\1.proj."),
    (r"\.(window|channel)_attn\.", ".attn."),
    (r"\.ffn\.", ".mlp."),
)
"""How timm's DaViT calls the weights of the tower."""


def test_timm_computes_the_same() -> None:
    """Timm's DaViT for Florence-2 gives the same maps with the same weights, at sizes with and without padding."""
    davit = pytest.importorskip("timm.models.davit", exc_type=ImportError)
    geometry = replace(TINY, vision=replace(TINY.vision, num_heads=(2, 2, 3, 4), num_groups=(2, 2, 3, 4)))
    tower, sizes = random_model(geometry).vision_tower.double(), geometry.vision
    theirs = davit.DaVit(
        depths=sizes.depths,
        embed_dims=sizes.embed_dim,
        num_heads=sizes.num_heads,
        window_size=sizes.window_size,
        down_kernel_size=3,
        channel_attn_v2=True,
        named_blocks=True,
        num_classes=0,
    )
    theirs.double().eval()
    weights = {
        reduce(lambda name, rule: re.sub(*rule, name), TIMM_NAMES, name): tensor
        for name, tensor in tower.state_dict().items()
    }
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert (unexpected, [name for name in missing if not name.startswith("head.")]) == ([], [])
    for size in ((160, 160), (64, 96)):
        x = pixels(*size).double()
        with torch.no_grad():
            ours, each = Backbone(tower).maps(x), theirs.stem(x)
            for stage, level in zip(theirs.stages, ours, strict=True):
                each = stage(each)
                torch.testing.assert_close(level, each, rtol=1e-9, atol=1e-9)
