"""What an adapter changes in the weights of one layer: LoRA, rsLoRA, DoRA, and weights that were trained whole.

LoRA (Hu et al., 2022): W + s B A.  DoRA (Liu et al., 2024): m (W + s B A) / |W + s B A|, the norm of each output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from f2edge.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

Parts: TypeAlias = "Mapping[str, Tensor]"
"""The tensors of one layer in an adapter, by their role: A, B, embedding_A, embedding_B, magnitude_vector, B.bias for
the bias of B; and weight, bias or another parameter that was trained whole."""

_CONVOLUTION = 4
"""Dimensions of the weight of a convolution."""


def ranks(parts: Parts) -> set[int]:
    """Return the ranks that the matrices of a layer have; it is one if they belong together."""
    return {len(parts[role]) if parts[role].dim() else 0 for role in ("A", "embedding_A") if role in parts}


def change(weight: Tensor, parts: Parts, scale: float) -> Tensor:
    """Return what to add to the weight of a layer, in fp32.

    Args:
        weight: that of the base: (outputs, inputs); (rows, width) of an embedding; (outputs, inputs / groups, height,
            width) of a convolution.
        parts: the tensors of the layer in the adapter.
        scale: the factor of the product of A and B.

    Returns:
        A tensor of the same shape; for a convolution with groups (outputs, inputs, height, width), since the adapter
        mixes the channels of all groups.

    Raises:
        CheckpointError: the shapes do not fit each other.
    """
    base = weight.float()
    whole = parts["weight"].float() if "weight" in parts else base
    _same_shape(whole, base)
    if not _is_lora(parts):
        return whole - base
    product = _product(whole, parts, scale)
    if product.shape != whole.shape:
        if "magnitude_vector" in parts or product.dim() != _CONVOLUTION or not _mixes_groups(product, whole):
            raise CheckpointError(f"it changes {list(product.shape)}, the base has {list(whole.shape)}")
        base, whole = dense(base, product.shape[1]), dense(whole, product.shape[1])
    if "magnitude_vector" in parts:
        return _with_magnitude(whole + product, parts) - base
    return product + (whole - base) if whole is not base else product


def bias_change(bias: Tensor, parts: Parts, scale: float) -> Tensor:
    """Return what to add to the bias of a layer, in fp32.

    Raises:
        CheckpointError: the shapes do not fit.
    """
    base = bias.float()
    whole = parts.get("bias", base).float() + (scale * parts["B.bias"].float() if "B.bias" in parts else 0)
    _same_shape(whole, base)
    return whole - base


def dense(weight: Tensor, inputs: int) -> Tensor:
    """Return the weight of a convolution with groups as that of one without: zero between groups."""
    outputs, width = weight.shape[:2]
    if width == inputs:
        return weight
    whole = weight.new_zeros(outputs, inputs, *weight.shape[2:])
    for output in range(outputs):
        first = output * (inputs // width) // outputs * width
        whole[output, first : first + width] = weight[output]
    return whole


def _is_lora(parts: Parts) -> bool:
    return not parts.keys().isdisjoint(("A", "B", "embedding_A", "embedding_B", "magnitude_vector"))


def _product(weight: Tensor, parts: Parts, scale: float) -> Tensor:
    """Multiply the two matrices of a layer, and by ``scale``."""
    try:
        if "embedding_A" in parts:
            return (scale * parts["embedding_B"].float() @ parts["embedding_A"].float()).T
        a, b = parts["A"].float(), scale * parts["B"].float()
        return _convolution(weight, a, b) if a.dim() == _CONVOLUTION else b @ a
    except KeyError as error:
        raise CheckpointError(f"lora_{error.args[0]} is missing") from error
    except (RuntimeError, ValueError, IndexError, ZeroDivisionError) as error:
        shapes = " and ".join(str(list(tensor.shape)) for tensor in parts.values())
        raise CheckpointError(f"{shapes} cannot be multiplied") from error


def _convolution(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Multiply A (rank, inputs, height, width) by B (outputs, rank / groups, 1, 1), both of convolutions."""
    rank, outputs = a.shape[0], b.shape[0]
    if weight.dim() == _CONVOLUTION and b.shape[1] != rank:
        b = dense(b, rank)
    return torch.einsum("or,rihw->oihw", b.reshape(outputs, -1), a)


def _mixes_groups(product: Tensor, weight: Tensor) -> bool:
    """Tell whether a product is of a convolution with the same outputs and window, over all channels."""
    same = product.shape[0] == weight.shape[0] and product.shape[2:] == weight.shape[2:]
    return same and product.shape[1] == weight.shape[0]  # all convolutions with groups in Florence-2 are depthwise


def _with_magnitude(weight: Tensor, parts: Parts) -> Tensor:
    """Give each output of a weight the length that DoRA learnt; an embedding has a length for each column."""
    magnitude = parts["magnitude_vector"].float().flatten()
    axes = (0,) if "embedding_A" in parts else tuple(range(1, weight.dim()))
    norm: Tensor = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    if magnitude.numel() != norm.numel():
        raise CheckpointError(f"its magnitudes are {magnitude.numel()}, the base has {norm.numel()} outputs")
    return weight * (magnitude.reshape(norm.shape) / norm)


def _same_shape(given: Tensor, base: Tensor) -> None:
    if given.shape != base.shape:
        raise CheckpointError(f"it has {list(given.shape)}, the base has {list(base.shape)}")
