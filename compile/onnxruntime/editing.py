"""Find patterns of nodes in an ONNX graph, and replace them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""
CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
"""Orders of the transpositions before and behind a convolution, from (1, height, width, channels) and back."""


class Editor:
    """A graph whose nodes can be looked up by what they read and write.

    A pattern is replaced at the place of its last node, which keeps its name and the name of its output; the nodes
    before it have no reader any more, and :func:`f2edge.quantize.onnx_files.prune` removes them.

    Args:
        model: the graph; it is changed in place.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        del self.graph.value_info[:]  # types that were
        self._constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self._sources = {name: node for node in self.graph.node for name in node.output}
        self._outputs = {value.name for value in self.graph.output}
        self._readers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.graph.node:
            for name in node.input:
                self._readers[name].append(node)
        if MICROSOFT not in {entry.domain for entry in model.opset_import}:
            model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))

    def writer(self, name: str) -> onnx.NodeProto | None:
        """Return the node that writes a tensor; None for constants and inputs of the graph."""
        return self._sources.get(name)

    def source(self, name: str, kind: str) -> onnx.NodeProto | None:
        """Return the node that writes a tensor, if it is of this kind."""
        node = self.writer(name)
        return node if node is not None and node.op_type == kind else None

    def alone(self, name: str) -> onnx.NodeProto | None:
        """Return the node that writes a tensor for one reader only; None if others read it or it is an output."""
        return self._sources.get(name) if len(self._readers[name]) == 1 and name not in self._outputs else None

    def chain(self, name: str, *steps: tuple[str, int]) -> list[onnx.NodeProto] | None:
        """Follow a tensor upwards; return the nodes if they are of the given kinds.

        Args:
            name: the tensor that the first node writes.
            steps: the kind of each node, and which of its inputs leads to the next one.
        """
        nodes = []
        for kind, port in steps:
            node = self.source(name, kind)
            if node is None or len(node.input) <= port:
                return None
            nodes.append(node)
            name = node.input[port]
        return nodes

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a tensor."""
        return self._readers[name]

    def only_reader(self, name: str, kind: str) -> onnx.NodeProto | None:
        """Return the node that reads a tensor, if it is the only one, of this kind, and the tensor is no output."""
        readers = self._readers[name]
        return readers[0] if self.alone(name) is not None and readers[0].op_type == kind else None

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return the value of a constant; None for any other tensor."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def add(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant unless there is one of this name; return the name."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(value, name)
            self.graph.initializer.append(self._constants[name])
        return name

    def put(self, last: onnx.NodeProto, kind: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Replace the last node of a pattern by one of ONNX Runtime's operators."""
        node = helper.make_node(kind, inputs, [last.output[0]], last.name, domain=MICROSOFT, **attributes)
        last.CopyFrom(node)


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return the value of an attribute of a node."""
    values = (helper.get_attribute_value(each) for each in node.attribute if each.name == name)
    return next(values, default)


def copy_of(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return a node of its own that is equal to a node."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy
