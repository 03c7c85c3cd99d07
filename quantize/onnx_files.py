"""Helpers for ONNX files: store each weight once beside the graph, edit and prune graphs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import set_external_data

from f2edge.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import TensorProto

QUANTIZING = ("QuantizeLinear", "DequantizeLinear")
"""The ONNX operators between floats and integers."""
SMALL = 1024
"""Constants with fewer elements stay in the graph and in fp32: they save nothing, and scales and shapes are there."""
_ALIGNMENT = 64


class WeightFile:
    """A file of weights that several graphs refer to; equal bytes are stored once.

    Args:
        path: the file; an old one is removed, and a new one begins with the first weight.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets: dict[tuple[str, int], int] = {}
        path.unlink(missing_ok=True)

    def store(self, data: bytes) -> int:
        """Return the offset of ``data`` in the file; append it unless it is there already."""
        key = (hashlib.sha256(data).hexdigest(), len(data))
        if key not in self._offsets:
            with self.path.open("ab") as file:
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                self._offsets[key] = file.tell()
                file.write(data)
        return self._offsets[key]


def save_onnx(model: onnx.ModelProto, path: Path, weights: WeightFile | None = None) -> list[Path]:
    """Write a graph, and its large constants into a file of weights beside it.

    Args:
        model: the graph; its large constants are moved out of it.
        path: the ``.onnx`` to write.
        weights: a file in the same directory; by default a new ``path`` + ".data" for this graph alone.

    Returns:
        The files: ``path`` and the file of weights.
    """
    weights = weights or WeightFile(path.with_name(f"{path.name}.data"))
    for tensor in (tensor for graph in graphs(model.graph) for tensor in graph.initializer):
        if len(tensor.raw_data) >= SMALL:
            data = tensor.raw_data
            set_external_data(tensor, weights.path.name, weights.store(data), len(data))
            tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString(deterministic=True))
    return [path, weights.path]


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph, and the graphs that its nodes run, such as the body of a ``Scan``."""
    yield graph
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield from graphs(attribute.g)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the graphs that they run."""
    return (node for each in graphs(graph) for node in each.node)


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape of a tensor; 0 stands for a size that cannot be inferred."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors between the nodes of a file, as :func:`shape_of`."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False)).graph
    return {value.name: shape_of(value) for value in graph.value_info}


def prune(graph: onnx.GraphProto) -> None:
    """Remove nodes that no output depends on, and constants that no node reads."""
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(_read(node))
            kept.append(node)
    constants = {tensor.name: tensor for tensor in graph.initializer if tensor.name in needed}
    replace(graph.node, reversed(kept))
    replace(graph.initializer, constants.values())


def _read(node: onnx.NodeProto) -> set[str]:
    """Return the tensors that a node, or a graph that it runs, reads, but for that graph's own constants."""
    names = set(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            names |= {name for each in all_nodes(attribute.g) for name in each.input}
            names -= {tensor.name for graph in graphs(attribute.g) for tensor in graph.initializer}
    return names


def replace(field: Any, values: Iterable[Any]) -> None:
    """Replace the elements of a repeated field of a graph by ``values``."""
    copies = list(values)
    del field[:]
    field.extend(copies)


def half(tensor: TensorProto) -> NDArray[np.float16]:
    """Return the values of a weight in half precision.

    Raises:
        CompileError: a value is beyond the range of fp16.
    """
    values = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float16)
    if not np.isfinite(narrow).all():
        raise CompileError(f"weight {tensor.name} does not fit into fp16; use `precision` fp32")
    return narrow
