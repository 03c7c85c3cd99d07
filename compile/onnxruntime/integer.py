"""Linear layers in INT8, as products of integers.

ONNX Runtime's own fusion leaves most Q/DQ linear layers of our graphs in float (docs/onnxruntime-int8.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from f2edge.compile.onnxruntime.editing import Editor, attribute
from f2edge.quantize.onnx_files import prune

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

MIDDLE = 128
"""The zero point of unsigned activations: u8 with this zero point and the same scale stands for the same numbers as s8
with zero point 0."""
PRODUCTS = ("MatMul", "Gemm")


@dataclass(frozen=True)
class Weight:
    """A constant INT8 matrix of a linear layer.

    Args:
        name: the name of the constant.
        values: (inputs, outputs), int8.
        scales: (outputs,), float32.
        transposed: whether the constant is stored as (outputs, inputs).
    """

    name: str
    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    transposed: bool


def weight_of(product: onnx.NodeProto, editor: Editor) -> Weight | None:
    """Return the weight of a linear layer, if it is a constant in INT8 with a scale for each output."""
    dequantizer = editor.source(product.input[1], "DequantizeLinear") if product.op_type in PRODUCTS else None
    if dequantizer is None:
        return None
    values, scales = (editor.constant(name) for name in dequantizer.input[:2])
    if values is None or values.dtype != np.int8 or scales is None:
        return None
    transposed = bool(attribute(product, "transB", 0))
    outputs = 0 if transposed else 1
    if scales.shape != (values.shape[outputs],) or attribute(dequantizer, "axis", 1) % 2 != outputs:
        return None
    return Weight(dequantizer.input[0], values.T if transposed else values, scales, transposed)


def layer_end(product: onnx.NodeProto, editor: Editor) -> tuple[onnx.NodeProto, str]:
    """Return the last node of a linear layer, and the name of its bias (outputs,), which is empty without one."""
    if len(product.input) > len(("rows", "weight")):
        return product, product.input[2]
    add = editor.only_reader(product.output[0], "Add")
    if add is not None:
        (other,) = (name for name in add.input if name != product.output[0])
        bias = editor.constant(other)
        if bias is not None and bias.ndim == 1:
            return add, other
    return product, ""


def multiply_integers(model: onnx.ModelProto) -> None:
    """Replace every linear layer of quantized activations and INT8 weights by one product of integers, in place.

    Activations become unsigned, and so do those of all other quantizers: ONNX Runtime has kernels for u8 times s8, and
    for u8 times u8, but none for s8 times s8 on x86.
    """
    editor = Editor(model)
    _make_activations_unsigned(editor)
    for product in model.graph.node:
        dequantizer = editor.source(product.input[0], "DequantizeLinear") if product.op_type in PRODUCTS else None
        weight = weight_of(product, editor)
        if dequantizer is not None and weight is not None:
            last, bias = layer_end(product, editor)
            scales = editor.add(f"{weight.name}.scales", weight.scales)
            inputs = integer_inputs(editor, dequantizer.input[0], dequantizer, _columns(weight, editor), scales, bias)
            editor.put(last, "MatMulIntegerToFloat", inputs)
    prune(model.graph)


def integer_inputs(
    editor: Editor, rows: str, activations: onnx.NodeProto, weights: str, scales: str, bias: str = ""
) -> list[str]:
    """Return the inputs of ``MatMulIntegerToFloat``.

    The zero points of the weights are written out although they are 0, and every weight has its own: ONNX Runtime
    cannot make weights unsigned otherwise, and some of its versions abort (:mod:`f2edge.runtimes.onnxruntime.loading`).

    Args:
        editor: the graph.
        rows: the quantized rows (rows, inputs), u8.
        activations: the dequantizer that tells their scale and zero point.
        weights: (inputs, outputs), int8.
        scales: (outputs,).
        bias: (outputs,), if there is one.
    """
    columns = editor.constant(scales)
    zero_points = editor.add(f"{weights}.zero_points", np.zeros_like(columns, np.int8))
    inputs = [rows, weights, activations.input[1], scales, activations.input[2], zero_points]
    return [*inputs, bias] if bias else inputs


def _columns(weight: Weight, editor: Editor) -> str:
    """Return the name of the weight as (inputs, outputs)."""
    if not weight.transposed:
        return weight.name
    return editor.add(f"{weight.name}.columns", np.ascontiguousarray(weight.values))


def _make_activations_unsigned(editor: Editor) -> None:
    for node in editor.graph.node:
        if node.op_type == "QuantizeLinear" and _is_symmetric(editor.constant(node.input[2])):
            zero_point = editor.add("zero_point.u8", np.array(MIDDLE, np.uint8))
            for each in (node, *editor.readers(node.output[0])):
                each.input[2] = zero_point


def _is_symmetric(zero_point: NDArray[Any] | None) -> bool:
    return zero_point is not None and zero_point.dtype == np.int8 and not zero_point.any()
