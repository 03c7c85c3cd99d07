"""UperNet of transformers over our backbone: a class for each pixel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation


class Segmenter(nn.Module):
    """Map pixels (B, 3, H, W) to logits (B, K, H, W).

    Args:
        backbone: gives maps of strides 4, 8, 16 and 32, as transformers' backbones do.
        classes: the number of labels; background is one of them.
        width: channels of UperNet.
    """

    def __init__(self, backbone: Any, classes: int, width: int = 64) -> None:
        super().__init__()
        stages = [f"stage{number}" for number in range(1, len(backbone.channels) + 1)]
        same_channels = ConvNextConfig(hidden_sizes=backbone.channels, depths=[1] * len(stages), out_features=stages)
        config = UperNetConfig(
            backbone_config=same_channels, hidden_size=width, num_labels=classes, use_auxiliary_head=False
        )
        self.upernet = UperNetForSemanticSegmentation(config)
        self.use(backbone)

    def use(self, backbone: Any) -> None:
        """Take the maps from another backbone."""
        self.upernet.backbone = backbone

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of each pixel."""
        logits: Tensor = self.upernet(pixels).logits
        return logits

    def loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """Return the mean cross-entropy of all pixels; masks (B, H, W) int64."""
        return F.cross_entropy(logits, masks)

    @torch.no_grad()
    def answers(self, pixels: Tensor) -> Tensor:
        """Return the label of each pixel, (B, H, W)."""
        return self(pixels).argmax(1)
