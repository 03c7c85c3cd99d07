"""Blocks of a graph: each may be INT8 or float on its own.

The exporter names every node after its module, and NNCF keeps these names.  A block can therefore be made float again,
with its float weights, biases and inputs, without another calibration.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import onnx

from f2edge.quantize.onnx_files import QUANTIZING, prune

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

HEAD = "head"
"""The block of nodes outside any module: the product with the tied embedding, and the choice of candidates."""

PRODUCTS = ("MatMul", "Gemm", "Conv")
"""The ONNX operators that can be in INT8: matrix products and convolutions."""

_BLOCK = re.compile(
    r"vision_tower\.(?:convs\.\d+|blocks\.\d+\.\d+\.(?:spatial|channel)_block)"
    r"|multi_modal_projector|(?:encoder|decoder)\.layers\.\d+"
)


def block_of(node: str) -> str:
    """Return the block that a node belongs to by its name, such as ``vision_tower.blocks.2.0.channel_block``."""
    block = _BLOCK.match(node)
    return block.group() if block else HEAD


def quantized_blocks(quantized: onnx.ModelProto) -> list[str]:
    """List the blocks with a matrix product or a convolution in INT8, in the order of the graph."""
    dequantized = {name for node in quantized.graph.node if node.op_type in QUANTIZING for name in node.output}
    products = (node for node in quantized.graph.node if node.op_type in PRODUCTS)
    return list(dict.fromkeys(block_of(n.name) for n in products if dequantized.intersection(n.input)))


def keep_float(quantized: onnx.ModelProto, source: onnx.ModelProto, blocks: Collection[str]) -> onnx.ModelProto:
    """Return the quantized graph with some blocks as they are in the float graph.

    Args:
        quantized: the graph that NNCF made of ``source``.
        source: the float graph.
        blocks: names of the blocks to make float.

    Returns:
        A new graph, without the nodes and constants that nothing needs any more.
    """
    model = onnx.ModelProto()
    model.CopyFrom(quantized)
    originals = {node.name: node for node in source.graph.node if block_of(node.name) in blocks}
    for node in model.graph.node:
        if node.name in originals:
            node.CopyFrom(originals[node.name])
    _restore_constants(model.graph, source.graph, {name for node in originals.values() for name in node.input})
    prune(model.graph)
    return model


def _restore_constants(graph: onnx.GraphProto, source: onnx.GraphProto, names: Collection[str]) -> None:
    """Put back the constants of the float graph: NNCF replaces weights, and corrects biases in place."""
    present = {tensor.name: tensor for tensor in graph.initializer}
    for tensor in source.initializer:
        if tensor.name in names:
            present.get(tensor.name, graph.initializer.add()).CopyFrom(tensor)


def multiplications(source: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Count the multiply-accumulates of the matrix products and convolutions of each block.

    Args:
        source: the float graph.
        shapes: the shape of every tensor between the nodes, for one sample.
    """
    sizes = dict(shapes) | {tensor.name: tuple(tensor.dims) for tensor in source.graph.initializer}
    counts: defaultdict[str, int] = defaultdict(int)
    for node in source.graph.node:
        if node.op_type in PRODUCTS:
            counts[block_of(node.name)] += _multiplications(node, sizes)
    return dict(counts)


def _multiplications(node: onnx.NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> int:
    outputs, left, right = sizes[node.output[0]], sizes[node.input[0]], sizes[node.input[1]]
    inner = right[1:] if node.op_type == "Conv" else left[-1:]
    return int(np.prod(outputs)) * int(np.prod(inner))
