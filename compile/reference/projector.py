"""Project the last feature map of the tower to tokens of the language model (docs/florence2.md#projector)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from f2edge.geometry import Geometry


class MultiModalProjector(nn.Module):
    """Map a feature map (B, h, w, C) to image features (B, 1 + h * w, d_model), the mean token first."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        dim = geometry.vision.embed_dim[-1]
        self.image_position_embed = LearnedPositionEmbedding2D(*geometry.image_positions, dim)
        self.visual_temporal_embed = TemporalEmbedding(geometry.temporal_positions, dim)
        self.image_projection = nn.Linear(dim, geometry.d_model, bias=False)
        self.image_proj_norm = nn.LayerNorm(geometry.d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Add positions and the temporal row 0 (a picture is a video of one frame), pool and project."""
        B, h, w, C = x.shape
        x = x + self.image_position_embed(h, w) + self.visual_temporal_embed()
        # Linear and without bias, the projection may stand before the mean, which saves a token's worth of it.
        tokens = self.image_projection(x.reshape(B, h * w, C))
        # A concatenation, as a sum: OpenVINO's low-precision passes garble a graph that ends in one (docs/traps.md).
        mean = F.pad(tokens.mean(1, keepdim=True), (0, 0, 0, h * w))
        return self.image_proj_norm(mean + F.pad(tokens, (0, 0, 1, 0)))  # type: ignore[no-any-return]


class LearnedPositionEmbedding2D(nn.Module):
    """Learned positions: the first half of the channels encodes the column, the second half the row."""

    def __init__(self, rows: int, columns: int, dim: int) -> None:
        super().__init__()
        self.row_embeddings = nn.Embedding(rows, dim // 2)
        self.column_embeddings = nn.Embedding(columns, dim - dim // 2)

    def forward(self, h: int, w: int) -> Tensor:
        """Return the positions (h, w, dim)."""
        columns = self.column_embeddings.weight[:w].unsqueeze(0).expand(h, -1, -1)
        rows = self.row_embeddings.weight[:h].unsqueeze(1).expand(-1, w, -1)
        return torch.cat([columns, rows], -1)


class TemporalEmbedding(nn.Module):
    """The cosine table of the frame number; a buffer, as in the checkpoints."""

    pos_idx_to_embed: Tensor

    def __init__(self, positions: int, dim: int) -> None:
        super().__init__()
        angles = torch.arange(positions).unsqueeze(1) * torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
        table = torch.stack([angles.sin(), angles.cos()], -1).reshape(positions, -1)[:, :dim]
        self.register_buffer("pos_idx_to_embed", table)

    def forward(self) -> Tensor:
        """Return the row of the first frame, (dim,): 0 on even channels, 1 on odd ones."""
        return self.pos_idx_to_embed[0]
