"""The DaViT vision tower (Ding et al., ECCV 2022; docs/florence2.md#vision-tower).

Maps are B x H x W x C throughout: windows, channel attention, layer norms and linear layers want the channels last, and
a convolution takes a permuted view (its kernels work on channels-last memory anyway), so no map is copied for its
layout.  All other operations see a map as rows (B * H * W, C): a matrix has one layout, while an engine chooses among
several layouts for a map and copies between them (docs/performance-design.md).

Height and width may stay open when the tower is exported (``torch.SymInt``): a bundle of the backbone takes any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from f2edge.geometry import VisionGeometry


class DaViT(nn.Module):
    """Map normalised pixels (B, 3, H, W) to the last feature map (B, H/32, W/32, C); H and W are multiples of 32."""

    def __init__(self, geometry: VisionGeometry) -> None:
        super().__init__()
        self.geometry = geometry
        dims = (3, *geometry.embed_dim)
        stages = range(len(geometry.embed_dim))
        self.convs = nn.ModuleList(ConvEmbed(dims[i], dims[i + 1], geometry, i) for i in stages)
        self.blocks = nn.ModuleList(
            nn.ModuleList(Block(geometry, i) for _ in range(geometry.depths[i])) for i in stages
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return the last feature map (B, h, w, C)."""
        return self.stages(pixel_values)[-1]

    def stages(self, pixel_values: Tensor) -> list[Tensor]:
        """Return the feature map after each stage, (B, h_i, w_i, C_i)."""
        x = pixel_values.permute(0, 2, 3, 1)
        maps = []
        for conv, blocks in zip(self.convs, self.blocks, strict=True):
            x = conv(x)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)
            maps.append(x)
        return maps


class ConvEmbed(nn.Module):
    """A strided convolution with a layer norm after it, or before it over the input channels."""

    def __init__(self, in_dim: int, out_dim: int, geometry: VisionGeometry, stage: int) -> None:
        super().__init__()
        self.prenorm = geometry.patch_prenorm[stage]
        self.conv = nn.Conv2d(
            in_dim,
            out_dim,
            kernel_size=geometry.patch_size[stage],
            stride=geometry.patch_stride[stage],
            padding=geometry.patch_padding[stage],
        )
        self.norm = nn.LayerNorm(in_dim if self.prenorm else out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, H/stride, W/stride, C')."""
        if self.prenorm:
            return _conv(self.conv, _norm(self.norm, x))
        return _norm(self.norm, _conv(self.conv, x))


class Block(nn.Module):
    """Window attention among neighbours, then channel attention over the whole map."""

    def __init__(self, geometry: VisionGeometry, stage: int) -> None:
        super().__init__()
        dim, mlp_dim = geometry.embed_dim[stage], geometry.mlp_dim[stage]
        self.spatial_block = SpatialBlock(
            dim, mlp_dim, WindowAttention(dim, geometry.num_heads[stage], geometry.window_size)
        )
        self.channel_block = ChannelBlock(dim, mlp_dim, ChannelAttention(dim, geometry.num_groups[stage]))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        return self.channel_block(self.spatial_block(x))  # type: ignore[no-any-return]


class _SubBlock(nn.Module):
    """Depthwise convolution, attention, depthwise convolution, MLP, each added to its input.

    The convolutions have no norm; they alone encode positions in the tower.
    """

    def __init__(self, dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm2 = nn.LayerNorm(dim)
        self.ffn = MLP(dim, mlp_dim)

    def attention(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        shape = x.shape
        x = _rows(x)
        x = x + _rows(_conv(self.conv1, x.reshape(shape)))
        x = x + _rows(self.attention(self.norm1(x).reshape(shape)))
        x = x + _rows(_conv(self.conv2, x.reshape(shape)))
        return (x + self.ffn(self.norm2(x))).reshape(shape)  # type: ignore[no-any-return]


class SpatialBlock(_SubBlock):
    """The sub-block with window attention."""

    def __init__(self, dim: int, mlp_dim: int, window_attn: WindowAttention) -> None:
        super().__init__(dim, mlp_dim)
        self.window_attn = window_attn

    def attention(self, x: Tensor) -> Tensor:
        """Attend among the positions of each window."""
        return self.window_attn(x)  # type: ignore[no-any-return]


class ChannelBlock(_SubBlock):
    """The sub-block with channel attention."""

    def __init__(self, dim: int, mlp_dim: int, channel_attn: ChannelAttention) -> None:
        super().__init__(dim, mlp_dim)
        self.channel_attn = channel_attn

    def attention(self, x: Tensor) -> Tensor:
        """Attend among the channels of each group."""
        return self.channel_attn(x)  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Multi-head attention inside windows; the map is padded right and below, and the padding is *not* masked."""

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads, self.window_size = num_heads, window_size
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        _, H, W, _ = x.shape
        pad_right, pad_below = _missing(W, self.window_size), _missing(H, self.window_size)
        padded = F.pad(x, (0, 0, 0, pad_right, 0, pad_below)) if _is_open(H, W) or pad_right or pad_below else x
        attended = self._attend(_windows(padded, self.window_size))
        return _unwindows(attended, self.window_size, padded.shape)[:, :H, :W]

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = _split_heads(self.qkv, x, self.num_heads, self.scale)
        attention = (q @ k.transpose(-1, -2)).softmax(-1)
        return self.proj(_join_heads(attention @ v))  # type: ignore[no-any-return]


class ChannelAttention(nn.Module):
    """Attention among the channels of a group: its tokens are channels, its features the positions of the map.

    The scale is the number of *positions* to the power -1/2, applied to q before the product: a sum over the
    36,864 positions of the first stage would leave the range of fp16 otherwise (docs/florence2.md#channel-attention).
    """

    def __init__(self, dim: int, num_groups: int) -> None:
        super().__init__()
        self.num_groups = num_groups
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        B, H, W, C = x.shape
        N = H * W
        scale = 1.0 if _is_open(N) else N**-0.5
        q, k, v = _split_heads(self.qkv, x.reshape(B, *_sizes(N), C), self.num_groups, scale)
        scores = q.transpose(-1, -2) @ k
        if _is_open(N):  # a scale that is not known yet cannot be put into the weights; backbones compute it in fp32
            scores = scores * torch.scalar_tensor(N).rsqrt()
        return self.proj(_join_heads(v @ scores.softmax(-1).transpose(-1, -2))).reshape(B, H, W, C)  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


def _conv(conv: nn.Module, x: Tensor) -> Tensor:
    return conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # type: ignore[no-any-return]


def _norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Return the layer norm of a map."""
    return norm(_rows(x)).reshape(x.shape)  # type: ignore[no-any-return]


def _rows(x: Tensor) -> Tensor:
    """Reshape (..., C) to (N, C)."""
    return x.reshape(-1, x.shape[-1])


def _split_heads(qkv: nn.Linear, x: Tensor, heads: int, scale: float) -> tuple[Tensor, ...]:
    """Project (B, N, C) to queries times ``scale``, keys and values, each (B, heads, N, C/heads).

    There are three products: splitting the result of a single one would cost a copy.
    """
    B, N, C = x.shape
    w, b, rows = qkv.weight, qkv.bias, _rows(x)
    q = F.linear(rows, w[:C] * scale, b[:C] * scale)
    k = F.linear(rows, w[C : 2 * C], b[C : 2 * C])
    v = F.linear(rows, w[2 * C :], b[2 * C :])
    return tuple(part.reshape(*_sizes(B, N), heads, C // heads).transpose(1, 2) for part in (q, k, v))


def _join_heads(x: Tensor) -> Tensor:
    """Join (B, heads, N, d) to (B * N, heads * d)."""
    _, heads, _, d = x.shape
    return x.transpose(1, 2).reshape(-1, heads * d)


def _windows(x: Tensor, size: int) -> Tensor:
    """Split (B, H, W, C) into (B * windows, size * size, C), windows row-major."""
    B, H, W, C = x.shape
    x = x.reshape(B, H // size, size, W // size, size, C).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, size * size, C)


def _unwindows(x: Tensor, size: int, shape: torch.Size) -> Tensor:
    """Invert :func:`_windows` for a map of ``shape``."""
    B, H, W, C = shape
    x = x.reshape(B, H // size, W // size, size, size, C).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(B, H, W, C)


def _missing(length: int, size: int) -> int:
    """Return how many positions a side lacks to be cut into whole windows."""
    return (length + size - 1) // size * size - length


def _is_open(*sizes: int) -> bool:
    """Tell whether an export leaves one of the sizes open."""
    return any(isinstance(size, torch.SymInt) for size in sizes)


def _sizes(*sizes: int) -> tuple[int, ...]:
    """Return the sizes of a reshape, in which -1 stands for one that an export leaves open: so the shape is constant.

    ONNX Runtime's attention and the integer products of INT8 are put in place of nodes with constant shapes only.
    """
    return tuple(-1 if _is_open(size) else size for size in sizes)
