"""The vision tower as a backbone: the maps of its stages, in the forms that detectors and segmenters take them.

Models of transformers read ``channels`` and call a backbone for an output with ``feature_maps``; those in the style of
timm read ``feature_info`` and want a list.  Neither package is needed here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from f2edge.bundle.levels import choose, levels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.arrays import FloatArray
    from f2edge.compile.reference.davit import DaViT


class FeatureInfo(tuple[dict[str, Any], ...]):
    """What is known of each level, as timm's ``FeatureInfo`` gives it.

    Each is a dict with ``name``, ``module``, ``reduction`` (the stride in pixels), ``num_chs`` and ``index``.
    """

    __slots__ = ()

    def channels(self) -> list[int]:
        """Return the channels of each level."""
        return [level["num_chs"] for level in self]

    def reduction(self) -> list[int]:
        """Return the stride of each level in pixels."""
        return [level["reduction"] for level in self]

    def module_name(self) -> list[str]:
        """Return the module whose output each level is."""
        return [level["module"] for level in self]


class Maps(dict[str, Any]):
    """The output of a backbone as models of transformers read it: a dict that gives its maps as an attribute, too.

    Attributes:
        hidden_states: None, as of a backbone of transformers that is not asked for them.
        attentions: None as well.
    """

    hidden_states: None = None
    attentions: None = None

    @property
    def feature_maps(self) -> tuple[Tensor, ...]:
        """The map of each level, (B, C, H / stride, W / stride)."""
        maps: tuple[Tensor, ...] = self["feature_maps"]
        return maps


class Backbone(nn.Module):
    """Map normalised pixels (B, 3, H, W) to the maps of some stages; H and W are multiples of 32.

    The tower is the model's own, not a copy: training the backbone trains it.

    Args:
        vision_tower: the tower, such as ``load_checkpoint(path).model.vision_tower``.
        levels: the stages whose maps are wanted, from 1, ascending; by default all.

    Raises:
        ValueError: there is no such stage, or the numbers do not ascend.
    """

    def __init__(self, vision_tower: DaViT, levels: Sequence[int] = ()) -> None:
        super().__init__()
        every = levels_of(vision_tower.geometry)
        self.vision_tower = vision_tower
        self.levels = choose(every, levels)
        self.stage_names = [level.name for level in every]
        self.num_features = [level.num_chs for level in every]
        self.feature_info = FeatureInfo(asdict(level) for level in self.levels)

    @property
    def out_features(self) -> list[str]:
        """The names of the levels."""
        return [level.name for level in self.levels]

    @property
    def out_indices(self) -> list[int]:
        """The numbers of their stages, from 0."""
        return [level.index for level in self.levels]

    @property
    def channels(self) -> list[int]:
        """The channels of each level."""
        return self.feature_info.channels()

    @property
    def out_feature_channels(self) -> dict[str, int]:
        """The channels of every stage of the tower, by name."""
        return dict(zip(self.stage_names, self.num_features, strict=True))

    def maps(self, pixel_values: Tensor) -> list[Tensor]:
        """Return the map of each level, (B, C, H / stride, W / stride), as timm's ``features_only`` models do."""
        stages = self.vision_tower.stages(pixel_values)
        return [stages[level.index].permute(0, 3, 1, 2) for level in self.levels]

    def forward(self, pixel_values: Tensor, **_: Any) -> Maps:
        """Return an output with ``feature_maps``; other arguments of transformers (``return_dict``) change nothing."""
        return Maps(feature_maps=tuple(self.maps(pixel_values)))

    def forward_with_filtered_kwargs(self, *args: Any, **kwargs: Any) -> Maps:
        """Return what :meth:`forward` does; transformers calls backbones by this name, too."""
        maps: Maps = self(*args, **kwargs)
        return maps


@torch.inference_mode()
def reference_maps(backbone: Backbone, pixel_values: FloatArray) -> dict[str, FloatArray]:
    """Compute the maps of pixels (1, 3, H, W), by the names of the levels."""
    maps = backbone.maps(torch.from_numpy(pixel_values))
    return {name: each.contiguous().numpy() for name, each in zip(backbone.out_features, maps, strict=True)}
