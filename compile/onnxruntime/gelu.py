"""GELU as one operator.

The exporter writes ``x * (0.5 * (1 + erf(x / sqrt 2)))``, five nodes in an order that ONNX Runtime does not fuse.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from f2edge.compile.onnxruntime.editing import Editor
from f2edge.quantize.onnx_files import prune

if TYPE_CHECKING:
    import onnx


def fuse_gelu(model: onnx.ModelProto) -> None:
    """Replace every exact GELU by ``com.microsoft.Gelu``, in place."""
    editor = Editor(model)
    for product in model.graph.node:
        if product.op_type == "Mul" and (x := _argument(product, editor)):
            editor.put(product, "Gelu", [x])
    prune(model.graph)


def _argument(product: onnx.NodeProto, editor: Editor) -> str | None:
    """Return the argument of a GELU, given the product at its end."""
    nodes = editor.chain(product.input[1], ("Mul", 1), ("Add", 0), ("Erf", 0), ("Div", 0))
    if nodes is None:
        return None
    half, plus, _, scaled = nodes
    constants = [editor.constant(name) for name in (half.input[0], plus.input[1], scaled.input[1])]
    if any(value is None for value in constants) or scaled.input[0] != product.input[0]:
        return None
    return product.input[0] if np.allclose(np.stack(constants), [0.5, 1, math.sqrt(2)]) else None  # type: ignore[arg-type]
