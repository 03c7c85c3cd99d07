"""Convert ONNX graphs to fp16 for strongly typed engines, except where its range or precision is not enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from f2edge.compile.tensorrt.lookups import look_up_dequantized
from f2edge.compile.tensorrt.scales import make_scales_positive
from f2edge.quantize.onnx_files import QUANTIZING, WeightFile, half, save_onnx

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Shapes: TypeAlias = "dict[str, list[int | None]]"
"""The shape of every float tensor by name; None for a size that varies."""

_WIDE_TYPES = {"LayerNormalization", "Softmax", "ReduceMean", "ReduceSum", "Exp", "Log", "TopK"}
_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Erf"}
_PRODUCTS = {"MatMul", "Gemm"}

_HALF_SCALES_OPSET = 19
"""The first version of ONNX whose QuantizeLinear and DequantizeLinear take fp16."""

_LONG_SUM = 512
"""Number of terms above which the sums of a product of two maps, as in channel attention, need fp32."""

_KEY_VALUES = ("past.", "cross.", "present.")
_SCORES = "logits"
_SMALL = 4096  # elements; larger weights are stored in half precision wherever they are used


def to_half(source: Path, destination: Path, weights: WeightFile | None = None) -> list[Path]:
    """Write one graph in half precision, with every conversion a Cast of its own (strong typing).

    Layer norms, softmax, means, sums of exponentials, the long sums of the channel attention, the head and everything
    after it run in fp32.  So do the operations between products: the sums of the residual stream and GELU, but not a
    bias, which belongs to its product.  That lowers the error by a third.  Keys and values are fp16 inputs and outputs;
    all other float inputs and outputs are fp32.  Q/DQ nodes get fp16 scales, so that the operations after them run in
    fp16.

    Args:
        source: an exported graph, float or with Q/DQ nodes.
        destination: the ``.onnx`` to write.
        weights: where its weights go; by default a file of its own beside it.

    Returns:
        The files written, the ``.onnx`` first.

    Raises:
        CompileError: a weight does not fit into fp16.
    """
    model = onnx.load(source)
    shapes = _shapes(source)
    look_up_dequantized(model.graph)
    make_scales_positive(model.graph)
    _Narrowing(model.graph, shapes).run(_wide_nodes(model.graph, shapes))
    if any(node.op_type in QUANTIZING for node in model.graph.node):
        model.opset_import[0].version = max(model.opset_import[0].version, _HALF_SCALES_OPSET)
    return save_onnx(model, destination, weights)


def _shapes(source: Path) -> Shapes:
    light = onnx.load(source, load_external_data=False)
    look_up_dequantized(light.graph)
    graph = shape_inference.infer_shapes(light).graph
    shapes: Shapes = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.FLOAT:
            shapes[value.name] = [dim.dim_value or None for dim in kind.shape.dim]
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            shapes[tensor.name] = list(tensor.dims)
    return shapes


def _wide_nodes(graph: onnx.GraphProto, shapes: Shapes) -> set[str]:
    """Return the nodes that run in fp32, by the name of their first output."""
    weights = {tensor.name for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    wide = {node.output[0] for node in graph.node if node.op_type in _WIDE_TYPES}
    wide |= {node.output[0] for node in graph.node if _sums_long(node, shapes, weights)}
    vectors = {tensor.name for tensor in graph.initializer if math.prod(tensor.dims) > 1}
    elementwise = (node for node in graph.node if node.op_type in _ELEMENTWISE)
    wide |= {node.output[0] for node in elementwise if not vectors & set(node.input)}
    if _SCORES in makers:
        head = makers[_SCORES]
        while head.op_type not in _PRODUCTS:
            head = next(makers[name] for name in head.input if name in makers)
        wide |= _followers(graph.node, head.output[0])
    return wide


def _sums_long(node: onnx.NodeProto, shapes: Shapes, weights: set[str]) -> bool:
    """Tell whether a node is a product of two maps over a known, long dimension."""
    if node.op_type != "MatMul" or weights & set(node.input):
        return False
    terms = shapes.get(node.input[0], [None])[-1]
    return terms is not None and terms > _LONG_SUM


def _followers(nodes: Iterable[onnx.NodeProto], tensor: str) -> set[str]:
    """Return the outputs of the node that makes ``tensor``, and of all nodes that depend on it."""
    reached = {tensor}
    for node in nodes:
        if reached & set(node.input):
            reached |= set(node.output)
    return reached


class _Narrowing:
    """Converts one graph to half precision; its nodes must be in topological order."""

    def __init__(self, graph: onnx.GraphProto, shapes: Shapes) -> None:
        self._graph = graph
        self._shapes = shapes
        self._weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name in shapes}
        self._types: dict[str, int] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self, wide: set[str]) -> None:
        """Rewrite the graph in place; ``wide`` are the first outputs of nodes that stay fp32."""
        for value in self._graph.input:
            self._cross_border(value)
        for node in self._graph.node:
            self._convert(node, TensorProto.FLOAT if node.output[0] in wide else TensorProto.FLOAT16)
        for value in self._graph.output:
            self._hand_out(value)
        self._replace_graph()

    def _cross_border(self, value: onnx.ValueInfoProto) -> None:
        if value.name in self._shapes:
            kind = TensorProto.FLOAT16 if value.name.startswith(_KEY_VALUES) else TensorProto.FLOAT
            value.type.tensor_type.elem_type = self._types[value.name] = kind

    def _convert(self, node: onnx.NodeProto, kind: int) -> None:
        for index, name in enumerate(node.input):
            if name in self._shapes:
                node.input[index] = self._weight(name, kind) if name in self._weights else self._cast(name, kind)
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = kind
        self._types |= {name: kind for name in node.output if name in self._shapes}
        self._nodes.append(node)

    def _weight(self, name: str, kind: int) -> str:
        if kind == TensorProto.FLOAT and math.prod(self._weights[name].dims) <= _SMALL:
            return name
        narrow = f"{name}.half"
        if narrow not in self._types:
            self._graph.initializer.append(numpy_helper.from_array(half(self._weights[name]), narrow))
            self._types[narrow] = TensorProto.FLOAT16
        return self._cast(narrow, kind)

    def _cast(self, name: str, kind: int) -> str:
        """Return the name of a tensor in a type; add a Cast if it has another type."""
        if self._types[name] == kind:
            return name
        cast = f"{name}.{'half' if kind == TensorProto.FLOAT16 else 'wide'}"
        if cast not in self._types:
            self._nodes.append(helper.make_node("Cast", [name], [cast], cast, to=kind))
            self._types[cast] = kind
        return cast

    def _hand_out(self, value: onnx.ValueInfoProto) -> None:
        """Give an output its type; if its node computes another type, rename the output of the node and add a Cast."""
        if value.name not in self._shapes:
            return
        made = self._types[value.name]
        self._cross_border(value)
        if made != self._types[value.name]:
            inner = f"{value.name}.inner"
            for node in self._nodes:
                node.input[:] = [inner if name == value.name else name for name in node.input]
                node.output[:] = [inner if name == value.name else name for name in node.output]
            self._nodes.append(
                helper.make_node("Cast", [inner], [value.name], f"{value.name}.cast", to=self._types[value.name])
            )

    def _replace_graph(self) -> None:
        used = {name for node in self._nodes for name in node.input}
        weights = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(weights)
