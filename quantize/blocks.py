"""The blocks that may be INT8 or float on their own, and graphs in which some of them are float again.

The exporter names every node after its module, and NNCF keeps these names; so a block's nodes can be put back as they
were, float weights, biases and inputs, without calibrating anything anew.
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
"""What stands outside of any module: the decoder's product with the tied embedding, and what picks candidates."""

_BLOCK = re.compile(
    r"vision_tower\.(?:convs\.\d+|blocks\.\d+\.\d+\.(?:spatial|channel)_block)"
    r"|multi_modal_projector|(?:encoder|decoder)\.layers\.\d+"
)


def block_of(node: str) -> str:
    """The block that a node belongs to, told by its name: ``vision_tower.blocks.2.0.channel_block``."""
    found = _BLOCK.match(node)
    return found.group() if found else HEAD


def quantized_blocks(quantized: onnx.ModelProto) -> list[str]:
    """The blocks with a product or a convolution in INT8, in the order of the graph."""
    dequantized = {name for node in quantized.graph.node if node.op_type in QUANTIZING for name in node.output}
    products = (node for node in quantized.graph.node if node.op_type in ("MatMul", "Gemm", "Conv"))
    return list(dict.fromkeys(block_of(n.name) for n in products if dequantized.intersection(n.input)))


def keep_float(quantized: onnx.ModelProto, source: onnx.ModelProto, blocks: Collection[str]) -> onnx.ModelProto:
    """The quantized graph with some blocks as they are in the float graph.

    Args:
        quantized: what NNCF made of ``source``.
        source: the float graph.
        blocks: names of the blocks that shall be float.

    Returns:
        A new graph, without the constants and the nodes that nothing needs any more.
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
    """NNCF corrects biases in place and replaces weights."""
    present = {tensor.name: tensor for tensor in graph.initializer}
    for tensor in source.initializer:
        if tensor.name in names:
            present.get(tensor.name, graph.initializer.add()).CopyFrom(tensor)


def multiplications(source: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Multiply-accumulates of each block's products and convolutions.

    Args:
        source: the float graph.
        shapes: of all tensors between the nodes, for one sample.
    """
    sizes = dict(shapes) | {tensor.name: tuple(tensor.dims) for tensor in source.graph.initializer}
    counts: defaultdict[str, int] = defaultdict(int)
    for node in source.graph.node:
        if node.op_type in ("MatMul", "Gemm", "Conv"):
            counts[block_of(node.name)] += _multiplications(node, sizes)
    return dict(counts)


def _multiplications(node: onnx.NodeProto, sizes: Mapping[str, tuple[int, ...]]) -> int:
    outputs, left, right = sizes[node.output[0]], sizes[node.input[0]], sizes[node.input[1]]
    inner = right[1:] if node.op_type == "Conv" else left[-1:]
    return int(np.prod(outputs)) * int(np.prod(inner))
