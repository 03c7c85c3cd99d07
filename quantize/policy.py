"""What becomes INT8, what stays float, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """How one graph is quantized.

    Args:
        activations: weights and activations (W8A8), or the weights alone.
        float_types: ONNX operators that stay float.
        smooth_quant: alpha of SmoothQuant for matrix products; -1 switches it off.
        why: one sentence.
    """

    activations: bool
    float_types: tuple[str, ...]
    smooth_quant: float
    why: str


POLICIES = {
    "vision": Policy(
        activations=True,
        float_types=("Gather", "MatMul"),
        smooth_quant=0.95,
        why="its linear layers are nearly all of the work; the products of attentions (the only MatMul, linear layers "
        "being Gemm) are 3 % of it, and quantizing their inputs costs what it saves",
    ),
    "encoder": Policy(
        activations=True,
        float_types=("Gather",),
        smooth_quant=-1,
        why="products in INT8; the embedding and position tables are only looked up",
    ),
    "decoder": Policy(
        activations=False,
        float_types=(),
        smooth_quant=-1,
        why="a step is bound by reading weights, and coordinates need precise scores",
    ),
}
"""By component.  Softmax, layer norms and GELU stay float in each: NNCF's transformer scheme leaves them alone."""
