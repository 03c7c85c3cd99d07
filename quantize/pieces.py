"""Cut a graph into pieces that are quantized one after another, and put the quantized pieces together again.

NNCF makes the tensors around all products outputs of one session, so that all of them are in memory at once: 5 GB for
a picture of 768 x 768 pixels at base size.  What it does to a product (ranges, SmoothQuant, correction of biases)
depends on that product's own inputs and weights only.  A graph is therefore cut where no tensor is quantized, and the
pieces give the same scales and weights as the whole.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

from f2edge.errors import CompileError
from f2edge.quantize.onnx_files import replace, shape_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from f2edge.calibration.recorder import Inputs

PIECE_BYTES = 1 << 30
"""The most bytes of weights and of tensors between nodes that a piece has, unless there is no place to cut it."""
_FLOAT = ("Add", "LayerNormalization")
"""Operators whose inputs NNCF does not quantize in transformers; the residual stream goes through them."""
_VIEWS = ("Reshape", "Transpose")
"""Operators that NNCF moves quantizers across."""


@dataclass(frozen=True)
class Piece:
    """Successive nodes of a graph.

    Args:
        nodes: the nodes, in their order.
        inputs: names of the tensors that they read from outside.
        outputs: names of the tensors that later nodes, or users of the graph, read.
    """

    nodes: Sequence[onnx.NodeProto]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def infer_types(model: onnx.ModelProto, inputs: Inputs) -> dict[str, onnx.ValueInfoProto]:
    """Return the type and shape of all tensors of a graph for these ``inputs``, by name."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for size, dim in zip(inputs[value.name].shape, value.type.tensor_type.shape.dim, strict=True):
            dim.dim_value = size
    del fixed.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    return {value.name: value for value in (*inferred.input, *inferred.value_info, *inferred.output)}


@dataclass
class Cutter:
    """Chooses where to cut a graph.

    Args:
        graph: the float graph; weights may be in a file beside it.
        types: types and shapes of its tensors, of :func:`infer_types`.
        floats: names of nodes whose inputs are not quantized, beside additions and layer norms.
    """

    graph: onnx.GraphProto
    types: Mapping[str, onnx.ValueInfoProto]
    floats: Collection[str]
    _readers: dict[str, list[int]] = field(init=False)
    _constants: set[str] = field(init=False)
    _results: set[str] = field(init=False)

    def __post_init__(self) -> None:
        readers = defaultdict(list)
        for index, node in enumerate(self.graph.node):
            for name in node.input:
                readers[name].append(index)
        self._readers = dict(readers)
        self._constants = {tensor.name for tensor in self.graph.initializer}
        self._results = {value.name for value in self.graph.output}

    def pieces(self, limit: int = PIECE_BYTES) -> list[Piece]:
        """Return the fewest pieces of successive nodes of at most ``limit`` bytes, larger where there is no cut."""
        costs = self._costs()
        ends: list[int] = []
        begin = last = 0
        for end in self._cuts():
            if last > begin and sum(costs[begin:end]) > limit:
                ends.append(last)
                begin = last
            last = end
        return [self._piece(*span) for span in zip([0, *ends], [*ends, len(costs)], strict=True)]

    def _costs(self) -> list[int]:
        """Return, for each node, the bytes of its outputs and of the constants that it is the first to read.

        In a graph of open sizes some shapes cannot be inferred; such a tensor counts as much as the largest one.
        """
        sizes = {name: _bytes(value.type.tensor_type.elem_type, shape_of(value)) for name, value in self.types.items()}
        largest = max(sizes.values())
        sizes |= {n: largest for n, value in self.types.items() if 0 in shape_of(value) and self._is_float(n)}
        constants = {t.name: _bytes(t.data_type, t.dims) for t in self.graph.initializer}
        return [
            sum(sizes.get(name, 0) for name in node.output) + sum(constants.pop(name, 0) for name in node.input)
            for node in self.graph.node
        ]

    def _cuts(self) -> list[int]:
        """Return the number of nodes before each place where the graph may be cut, and before its end.

        Such a place is behind a sum of the residual stream that no quantizer reads, and that alone goes on, beside what
        is a result already.
        """
        alive = {value.name for value in self.graph.input}
        cuts = []
        for index, node in enumerate(self.graph.node):
            alive.update(node.output)
            alive = {name for name in alive if self._later(name, index)}
            floats = [name for name in alive if self._is_float(name) and not self._becomes_result(name, index)]
            if floats == list(node.output) and self._is_sum(node) and self._stays_float(node.output[0], index):
                cuts.append(index + 1)
        return [*cuts, len(self.graph.node)]

    def _is_sum(self, node: onnx.NodeProto) -> bool:
        """Tell whether a node adds two tensors that depend on the inputs of the graph; others add a bias."""
        return node.op_type == "Add" and not self._constants.intersection(node.input)

    def _is_float(self, name: str) -> bool:
        value = self.types.get(name)
        return value is None or value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT

    def _later(self, name: str, index: int) -> list[int]:
        return [reader for reader in self._readers.get(name, ()) if reader > index]

    def _becomes_result(self, name: str, index: int) -> bool:
        """Tell whether the nodes after ``index`` only move the values of a tensor, into a result of the graph."""
        nodes = [self.graph.node[reader] for reader in self._later(name, index)]
        if not nodes:
            return name in self._results
        return all(node.op_type in _VIEWS and self._becomes_result(node.output[0], index) for node in nodes)

    def _stays_float(self, name: str, index: int) -> bool:
        """Tell whether no node after ``index`` reads a quantized form of a tensor."""
        nodes = [self.graph.node[reader] for reader in self._later(name, index)]
        return all(
            node.op_type in _FLOAT
            or node.name in self.floats
            or (node.op_type in _VIEWS and self._stays_float(node.output[0], index))
            for node in nodes
        )

    def _piece(self, begin: int, end: int) -> Piece:
        nodes = self.graph.node[begin:end]
        made = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in node.input if name)
        given = (name for name in read if name not in made | self._constants)
        wanted = (n for node in nodes for n in node.output if n in self._results or self._later(n, end - 1))
        return Piece(nodes, tuple(given), tuple(wanted))


def _bytes(kind: int, shape: Iterable[int]) -> int:
    return int(np.prod(tuple(shape), dtype=np.int64)) * onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize


def extract(model: onnx.ModelProto, piece: Piece, directory: Path) -> onnx.ModelProto:
    """Return a piece as a graph of its own, with its weights.

    Args:
        model: the whole float graph, with the types of all tensors; its weights may be in files.
        piece: one of its pieces.
        directory: the directory of the files.
    """
    graph = model.graph
    kinds = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    read = {name for node in piece.nodes for name in node.input}
    part = onnx.helper.make_graph(
        piece.nodes,
        graph.name,
        [kinds[name] for name in piece.inputs],
        [kinds[name] for name in piece.outputs],
        [tensor for tensor in graph.initializer if tensor.name in read],
    )
    inside = {name for node in piece.nodes for name in node.output}.difference(piece.outputs)
    part.value_info.extend(kinds[name] for name in inside if name in kinds)
    for tensor in part.initializer:
        if uses_external_data(tensor):
            load_external_data_for_tensor(tensor, str(directory))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
    return onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)


def join(model: onnx.ModelProto, parts: Iterable[onnx.ModelProto]) -> onnx.ModelProto:
    """Return the whole graph of quantized pieces.

    A constant that two pieces share, and that one of them has changed, is renamed in the later one.

    Args:
        model: the float graph that was cut; its weights are not read.
        parts: its pieces, in their order.

    Raises:
        CompileError: two pieces compute a tensor of the same name.
    """
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    graph = whole.graph
    for part_of_graph in (graph.node, graph.initializer, graph.value_info):
        replace(part_of_graph, ())
    constants: dict[str, onnx.TensorProto] = {}
    for number, part in enumerate(parts):
        _add(graph, part.graph, constants, f".piece{number}")
    names = [name for node in graph.node for name in node.output]
    if len(set(names)) < len(names):
        raise CompileError("two pieces of a quantized graph compute a tensor of the same name")
    return whole


def _add(graph: onnx.GraphProto, part: onnx.GraphProto, constants: dict[str, onnx.TensorProto], suffix: str) -> None:
    """Append the nodes of a piece, and the constants that are not there yet."""
    renamed = {}
    for tensor in part.initializer:
        known = constants.get(tensor.name)
        if known and known.SerializeToString() != tensor.SerializeToString():
            renamed[tensor.name] = tensor.name + suffix
            tensor.name += suffix
            known = None
        if not known:
            constants[tensor.name] = tensor
            graph.initializer.append(tensor)
    for node in part.node:
        replace(node.input, [renamed.get(name, name) for name in node.input])
    graph.node.extend(part.node)
    graph.value_info.extend(part.value_info)
