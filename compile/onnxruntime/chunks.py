"""Layers of many tokens, run on a part of the tokens at a time.

The MLP of the tower's first stage writes 75 MB for each of its operators.  In parts, what one operator writes is
still in the processor's cache when the next one reads it.  The results are the same, bit for bit.
"""

from __future__ import annotations

import math
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from f2edge.compile.onnxruntime.editing import Editor, attribute, copy_of
from f2edge.quantize.onnx_files import prune, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

_CACHE = 2 << 20
"""Bytes of the widest tensor of a chunk, in fp32.  With twice as many, the tower gained half as much."""
_ROWS = 256
"""Tokens of a chunk at least.  With fewer, reading the weights again for each chunk takes what the cache gains."""
_PRODUCT = "MatMulIntegerToFloat"
_WEIGHTS = (1, 5)
"""Places of the weights and their zero points among the inputs of a product."""
_BY_TOKEN = {_PRODUCT, "LayerNormalization", "QuantizeLinear", "Gelu", "Mul"}
_COMPUTED = -1
"""The size in a shape that follows from the others."""
_BY_BLOCK = {"Reshape", "Transpose", "MultiHeadAttention"}


class _Layer(NamedTuple):
    """What is between some tokens and the sum that adds its result to them.

    Args:
        tokens: the tensor that it reads, (rows, channels) in fp32, as the sum does.
        nodes: its nodes, in their order.
        total: the sum.
    """

    tokens: str
    nodes: Sequence[onnx.NodeProto]
    total: onnx.NodeProto


def run_in_chunks(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Let INT8 layers that look at each token, or at each window of tokens, alone take a part at a time, in place.

    Each becomes the body of a ``Scan``.  Float graphs stay whole: they run on GPUs, too, which have no use for it.

    Args:
        model: the graph, in ONNX Runtime's operators.
        shapes: the shapes of its tensors, of :func:`f2edge.quantize.onnx_files.tensor_shapes`.
    """
    editor = Editor(model)
    loops: dict[str, list[onnx.NodeProto]] = {}
    for layer in _layers(editor):
        rows, *others = shapes.get(layer.tokens, (0,))
        chunks = _chunks(editor, layer, rows) if len(others) == 1 else 1
        if chunks > 1:
            loops |= {node.output[0]: [] for node in layer.nodes}
            loops[layer.total.output[0]] = _loop(editor, layer, (chunks, rows // chunks, *others))
    nodes = (loops.get(node.output[0], [node]) for node in model.graph.node)
    replace(model.graph.node, [each for group in nodes for each in group])
    prune(model.graph)


def _layers(editor: Editor) -> Iterator[_Layer]:
    for total in editor.graph.node:
        for tokens, result in permutations(total.input) if total.op_type == "Add" else ():
            nodes = _between(editor, tokens, result, total.output[0])
            if any(node.op_type == _PRODUCT for node in nodes):
                yield _Layer(tokens, nodes, total)


def _between(editor: Editor, tokens: str, result: str, total: str) -> list[onnx.NodeProto]:
    """Return the nodes that compute a result from tokens and constants, for a sum alone; none if there are others."""
    found: dict[str, onnx.NodeProto] = {}
    names = [result]
    while names:
        name = names.pop()
        if name in ("", tokens) or name in found or editor.constant(name) is not None:
            continue
        node = editor.writer(name)
        if node is None or node.op_type not in _BY_TOKEN | _BY_BLOCK:
            return []
        found[name] = node
        names += node.input
    readers = {reader.output[0] for name in found for reader in editor.readers(name)}
    return [node for node in editor.graph.node if node.output[0] in found] if readers <= {*found, total} else []


def _chunks(editor: Editor, layer: _Layer, rows: int) -> int:
    """Return into how many chunks a layer is split, so that each fits into the cache; 1 leaves it whole."""
    products = (node for node in layer.nodes if node.op_type == _PRODUCT)
    widest = max(_shape(editor, product.input[1])[1] for product in products)
    least, most = max(1, math.ceil(rows * widest * 4 / _CACHE)), rows // _ROWS
    common = math.gcd(rows, *(_blocks(editor, node) for node in layer.nodes))
    return next((chunks for chunks in range(least, most + 1) if common % chunks == 0), 1)


def _shape(editor: Editor, name: str) -> tuple[int, ...]:
    value = editor.constant(name)
    return () if value is None else value.shape


def _blocks(editor: Editor, node: onnx.NodeProto) -> int:
    """Return into how many blocks of consecutive tokens the work of a node divides; 0 if into any number."""
    if node.op_type == "Transpose":
        return 0 if attribute(node, "perm", [])[:2] == [0, 1] else 1
    if node.op_type in _BY_BLOCK:
        reshape = node if node.op_type == "Reshape" else editor.source(node.input[0], "Reshape")
        sizes = None if reshape is None else editor.constant(reshape.input[1])
        if sizes is None:
            return 1
        return _leading(sizes)[1] if reshape is node else max(1, int(sizes[0]))  # attention: one block for a window
    constants = [shape for name in node.input if (shape := _shape(editor, name))]
    return 0 if node.op_type == _PRODUCT or all(math.prod(shape) == shape[-1] for shape in constants) else 1


def _leading(sizes: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return the place of the first size of a shape that is not 1, and the number of blocks, as :func:`_blocks`."""
    place = int(np.argmax(sizes != 1))
    size = int(sizes[place]) if place <= 1 else 1
    return place, 0 if size == _COMPUTED else max(1, size)


def _loop(editor: Editor, layer: _Layer, shape: Sequence[int]) -> list[onnx.NodeProto]:
    """Return the nodes that split tokens into (chunks, rows, channels), run a layer on each chunk, and join them."""
    name, chunks = layer.total.output[0], shape[0]
    split = editor.add(f"{name}.chunks", np.array(shape))
    join = editor.add(f"{name}.rows", np.array([-1, shape[2]]))
    return [
        helper.make_node("Reshape", [layer.tokens, split], [f"{name}.split"], f"{layer.total.name}.split"),
        helper.make_node(
            "Scan",
            [f"{name}.split"],
            [f"{name}.parts"],
            f"{layer.total.name}.chunks",
            body=_body(editor, layer, chunks, shape[1:]),
            num_scan_inputs=1,
        ),
        helper.make_node("Reshape", [f"{name}.parts", join], [name], f"{layer.total.name}.join"),
    ]


def _body(editor: Editor, layer: _Layer, chunks: int, shape: Sequence[int]) -> onnx.GraphProto:
    """Return a layer as a graph from a chunk of tokens to theirs.

    It holds its INT8 weights itself: ONNX Runtime turns them into unsigned ones (:mod:`.convert`) only if they are
    constants of the graph of their product.
    """
    before, after = f"{layer.total.output[0]}.before", f"{layer.total.output[0]}.after"
    nodes = [_of_chunk(editor, node, chunks, {layer.tokens: before}) for node in (*layer.nodes, layer.total)]
    nodes[-1].output[0] = after
    first, last = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (before, after))
    weights = [node.input[place] for node in layer.nodes if node.op_type == _PRODUCT for place in _WEIGHTS]
    return helper.make_graph(
        nodes,
        layer.total.name,
        [first],
        [last],
        [numpy_helper.from_array(value, name) for name in weights if (value := editor.constant(name)) is not None],
    )


def _of_chunk(editor: Editor, node: onnx.NodeProto, chunks: int, names: Mapping[str, str]) -> onnx.NodeProto:
    """Return a node for a chunk: reshapes to as many leading rows as a chunk has."""
    copy = copy_of(node)
    replace(copy.input, [names.get(name, name) for name in node.input])
    sizes = editor.constant(node.input[1]) if node.op_type == "Reshape" else None
    if sizes is not None:
        sizes = sizes.copy()
        place, size = _leading(sizes)
        sizes[place] = size // chunks or _COMPUTED
        copy.input[1] = editor.add(f"{node.output[0]}.sizes", sizes)
    return copy
