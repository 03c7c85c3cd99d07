"""The graph of a backbone: pixels in, the feature maps of some stages out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from f2edge.compile.export.graphs import Graph
from f2edge.geometry import STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from f2edge.bundle.levels import Level
    from f2edge.compile.reference.model import ReferenceModel

_TRACED = (5, 7)
"""Rows and columns of the last map of the traced picture, if sizes stay open: they differ, and windows need padding."""


class BackboneGraph(nn.Module):
    """Map pixel_values (1, 3, H, W) to the map of each level, (1, C, H / stride, W / stride).

    Nodes are named as those of the vision graph, since what is quantized is chosen by these names.
    """

    def __init__(self, model: ReferenceModel, levels: Sequence[Level]) -> None:
        super().__init__()
        self.model = model
        self.levels = levels

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Run the stages of the tower up to the last wanted one."""
        stages = self.model.vision_tower.stages(pixel_values)
        return [stages[level.index].permute(0, 3, 1, 2) for level in self.levels]


def backbone_graph(model: ReferenceModel, levels: Sequence[Level], image_size: tuple[int, int] | None) -> Graph:
    """Return the graph of some levels.

    Args:
        model: the reference model.
        levels: the levels, in the order of the outputs.
        image_size: (height, width) in pixels; None leaves them open, to any multiples of 32.
    """
    height, width = image_size or tuple(STRIDE * side for side in _TRACED)
    inputs = {"pixel_values": torch.zeros(1, 3, height, width)}
    Dim = torch.export.Dim
    sizes = None if image_size else {2: STRIDE * Dim("rows"), 3: STRIDE * Dim("columns")}
    return Graph(BackboneGraph(model, levels), inputs, {"pixel_values": sizes}, [level.name for level in levels])
