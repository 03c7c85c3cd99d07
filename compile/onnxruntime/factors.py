"""SmoothQuant's factors, folded into what comes before them, and quantizers in front of copies.

NNCF puts a product with a factor for each channel before a quantizer.  ONNX Runtime runs it as an operator of its own,
which reads and writes a whole map in fp32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from f2edge.compile.onnxruntime.editing import Editor, attribute, copy_of
from f2edge.quantize.onnx_files import prune

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray


def fold_factors(model: onnx.ModelProto) -> None:
    """Fold the factors before quantizers into layer norms and projections of values, in place."""
    editor = Editor(model)
    for product in model.graph.node:
        factors = editor.constant(product.input[1]) if product.op_type == "Mul" else None
        quantizer = editor.only_reader(product.output[0], "QuantizeLinear")
        if factors is None or quantizer is None:
            continue
        scaled = _source(editor, product.input[0], factors.size)
        if scaled is not None:
            _scale(editor, scaled, factors.ravel(), product.name)
            quantizer.input[0] = product.input[0]
    prune(model.graph)


def _source(editor: Editor, name: str, width: int) -> onnx.NodeProto | None:
    """Return the layer norm, or the projection to values, whose columns become those of a tensor, for it alone."""
    while (node := editor.alone(name)) is not None:
        if node.op_type == "LayerNormalization":
            return node
        if node.op_type == "MultiHeadAttention":
            value = editor.alone(node.input[2])
            projection = editor.alone(value.input[0]) if value is not None and value.op_type == "Reshape" else None
            known = projection is not None and projection.op_type == "MatMulIntegerToFloat"
            return projection if known else None
        if not _keeps_columns(editor, node, width):
            return None
        name = node.input[0]
    return None


def _keeps_columns(editor: Editor, node: onnx.NodeProto, width: int) -> bool:
    """Tell whether a node moves whole rows of this width, and adds none but zeros."""
    if node.op_type == "Reshape":
        shape = editor.constant(node.input[1])
        return shape is not None and int(shape[-1]) == width
    if node.op_type == "Transpose":
        order = attribute(node, "perm", [])
        return bool(order) and order[-1] == len(order) - 1
    return _pads_zeros(node)


def _pads_zeros(node: onnx.NodeProto) -> bool:
    constant = attribute(node, "mode", b"constant") == b"constant"
    return node.op_type == "Pad" and constant and len(node.input) == len(("data", "pads"))


def _scale(editor: Editor, node: onnx.NodeProto, factors: NDArray[np.float32], name: str) -> None:
    """Let a layer norm or a projection return its columns times a factor each."""
    places = (1, 2) if node.op_type == "LayerNormalization" else (3, 6)
    for place in places:
        if len(node.input) > place:
            value: NDArray[Any] | None = editor.constant(node.input[place])
            assert value is not None
            node.input[place] = editor.add(f"{name}.{place}", value * factors)


def move_in_integers(model: onnx.ModelProto) -> None:
    """Let reshapes, transpositions and pads around a quantizer and a dequantizer move bytes, in place."""
    for kind, reorder in (("QuantizeLinear", _quantize_first), ("DequantizeLinear", _dequantize_last)):
        editor = Editor(model)
        for node in model.graph.node:
            if node.op_type == kind and _is_of_activations(editor, node):
                reorder(editor, node)


def _is_of_activations(editor: Editor, node: onnx.NodeProto) -> bool:
    """Tell whether a quantizer or dequantizer has one scale and zero point for a whole tensor that is no constant."""
    scale = editor.constant(node.input[1])
    complete = len(node.input) == len(("tensor", "scale", "zero point"))
    return complete and scale is not None and scale.size == 1 and editor.constant(node.input[0]) is None


def _quantize_first(editor: Editor, quantizer: onnx.NodeProto) -> None:
    moves: list[onnx.NodeProto] = []
    name = quantizer.input[0]
    while (node := editor.alone(name)) is not None and _moves(node):
        moves.insert(0, node)
        name = node.input[0]
    _reorder([*moves, quantizer], [quantizer, *moves], zero_point=quantizer.input[2])


def _dequantize_last(editor: Editor, dequantizer: onnx.NodeProto) -> None:
    moves: list[onnx.NodeProto] = []
    name = dequantizer.output[0]
    while editor.alone(name) is not None and _moves(node := editor.readers(name)[0]):
        moves.append(node)
        name = node.output[0]
    _reorder([dequantizer, *moves], [*moves, dequantizer], zero_point=dequantizer.input[2])


def _moves(node: onnx.NodeProto) -> bool:
    return node.op_type in ("Reshape", "Transpose") or _pads_zeros(node)


def _reorder(places: Sequence[onnx.NodeProto], order: Sequence[onnx.NodeProto], zero_point: str) -> None:
    """Put the nodes of a chain into another order; those that pad use the zero point."""
    copies = [copy_of(node) for node in order]
    names = [places[0].input[0], *(f"{node.output[0]}.u8" for node in places[:-1]), places[-1].output[0]]
    for place, node, source, result in zip(places, copies, names, names[1:], strict=False):
        node.input[0], node.output[0] = source, result
        if node.op_type == "Pad":
            node.input.append(zero_point)
        place.CopyFrom(node)
