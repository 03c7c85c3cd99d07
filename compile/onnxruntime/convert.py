"""Write a graph for ONNX Runtime, in the operators that it runs fastest, its weights in half precision if asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from f2edge.compile.onnxruntime.attention import fuse_attention
from f2edge.compile.onnxruntime.chunks import run_in_chunks
from f2edge.compile.onnxruntime.convolution import multiply_convolutions
from f2edge.compile.onnxruntime.editing import attribute
from f2edge.compile.onnxruntime.factors import fold_factors, move_in_integers
from f2edge.compile.onnxruntime.gelu import fuse_gelu
from f2edge.compile.onnxruntime.integer import multiply_integers
from f2edge.compile.onnxruntime.residual import fold_residuals
from f2edge.compile.onnxruntime.weights_only import multiply_by_blocks
from f2edge.quantize.onnx_files import QUANTIZING, SMALL, all_nodes, half, replace, save_onnx, tensor_shapes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.quantize.onnx_files import WeightFile

_REWRITES = (
    fuse_gelu,
    fuse_attention,
    multiply_integers,
    fold_factors,
    move_in_integers,
    multiply_convolutions,
    multiply_by_blocks,
    fold_residuals,
)
_SCALED = (*QUANTIZING, "MatMulIntegerToFloat", "MatMulNBits")
"""Operators whose inputs behind the first are scales, zero points and integers."""


def compile_onnx(source: Path, destination: Path, weights: WeightFile, *, fp16: bool) -> list[Path]:
    """Write one graph for ONNX Runtime.

    Args:
        source: the exported graph.
        destination: the ``.onnx`` to write.
        weights: where its weights go.
        fp16: store large weights in half precision and widen them when the graph is loaded; what is computed
            stays fp32, since CPUs gain nothing from half precision there.

    Returns:
        The files written, the ``.onnx`` first.

    Raises:
        CompileError: a weight does not fit into fp16.
    """
    model = onnx.load(source)
    for rewrite in _REWRITES:
        rewrite(model)
    run_in_chunks(model, tensor_shapes(source))
    if fp16:
        _store_weights_in_half(model)
    return save_onnx(model, destination, weights)


def _store_weights_in_half(model: onnx.ModelProto) -> None:
    casts = []
    exact = {name for node in all_nodes(model.graph) for name in _exact(node)}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL or tensor.name in exact:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half(tensor), f"{name}.fp16"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], f"{name}.widen", to=TensorProto.FLOAT))
    replace(model.graph.node, [*casts, *model.graph.node])


def _exact(node: onnx.NodeProto) -> Sequence[str]:
    """Return the constants of a node that half precision would change too much.

    Those are scales, and the kernels of depthwise convolutions, which are small, and may have a 1 at their centre.
    """
    depthwise = node.op_type == "Conv" and attribute(node, "group", 1) > 1
    return node.input[1:] if node.op_type in _SCALED or depthwise else ()
