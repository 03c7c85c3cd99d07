"""Give an encoder graph in INT8 a prompt of fixed length, with the mask that hides what fills it up.

Its scales were calibrated on prompts without padding.  So the dynamic graph is changed after its quantization: the
INT8 of fixed shapes has the numbers of the dynamic one, and padding has no part in them.  The result has the inputs and
outputs of :class:`f2edge.compile.export.fixed_shapes.StaticEncoderGraph`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer

from f2edge.errors import CompileError
from f2edge.quantize.onnx_files import prune, replace
from f2edge.runtimes.batches import HIDDEN, MASK

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx
    from numpy.typing import NDArray
    from onnxscript import ir

_IDS = "input_ids"
_TOKEN, _SCORES = f"{_IDS}.token", f"{MASK}.scores"


def fix_prompt(model: onnx.ModelProto, image_tokens: int, prompt_tokens: int) -> None:
    """Fix the length of the prompt of an encoder graph, and mask its padding, in place.

    What followed from the length, such as positions, becomes constant.

    Args:
        model: the graph, for prompts of any length.
        image_tokens: the number of tokens of the image, which come before the prompt.
        prompt_tokens: the number of prompt tokens, negative where padded.

    Raises:
        CompileError: the graph has no attention that could be masked.
    """
    graph = model.graph
    if not any(node.op_type == "Softmax" for node in graph.node):
        raise CompileError("the encoder graph has no softmax to mask; report this with the checkpoint")
    for node in graph.node:
        if node.op_type == "Gather":
            replace(node.input, [_TOKEN if name == _IDS else name for name in node.input])
    nodes = list(_mask_nodes())
    for node in graph.node:
        nodes += [*([_masked(node)] if node.op_type == "Softmax" else []), node]
    replace(graph.node, nodes)
    graph.initializer.extend(_constants(image_tokens))
    _fix_sizes(graph, image_tokens + prompt_tokens, prompt_tokens)
    optimizer.fold_constants(model, onnx_shape_inference=True, should_fold=_is_no_weight)
    prune(model.graph)


def _is_no_weight(node: ir.Node) -> bool | None:
    """Refuse to fold INT8 weights into floats; the optimizer decides about everything else."""
    return False if node.op_type == "DequantizeLinear" else None


def _masked(softmax: onnx.NodeProto) -> onnx.NodeProto:
    """Return the node that adds the mask to the scores of a softmax, which then reads its sum."""
    scores, name = softmax.input[0], f"{softmax.name}.masked"
    softmax.input[0] = name
    return helper.make_node("Add", [scores, _SCORES], [name], name)


def _mask_nodes() -> Iterator[onnx.NodeProto]:
    """Make the nodes of the prompt without negative tokens, and of the mask in both of its forms."""
    for kind, inputs, output in (
        ("Max", [_IDS, f"{MASK}.first"], _TOKEN),
        ("Less", [_IDS, f"{MASK}.first"], f"{MASK}.padded"),
        ("Where", [f"{MASK}.padded", f"{MASK}.hidden", f"{MASK}.shown"], f"{MASK}.prompt"),
    ):
        yield helper.make_node(kind, inputs, [output], output)
    joined = f"{MASK}.joined"
    yield helper.make_node("Concat", [f"{MASK}.image", f"{MASK}.prompt"], [joined], joined, axis=1)
    for output in (_SCORES, MASK):
        yield helper.make_node("Reshape", [joined, f"{output}.shape"], [output], output)


def _constants(image_tokens: int) -> Iterator[onnx.TensorProto]:
    values: dict[str, NDArray[Any]] = {
        f"{MASK}.first": np.zeros(1, np.int64),
        f"{MASK}.hidden": np.full(1, HIDDEN, np.float32),
        f"{MASK}.shown": np.zeros(1, np.float32),
        f"{MASK}.image": np.zeros((1, image_tokens), np.float32),
        f"{_SCORES}.shape": np.array([1, 1, 1, -1]),
        f"{MASK}.shape": np.array([1, 1, -1, 1]),
    }
    return (numpy_helper.from_array(value, name) for name, value in values.items())


def _fix_sizes(graph: onnx.GraphProto, states: int, prompt_tokens: int) -> None:
    """Write the fixed sizes into inputs and outputs, and add the mask to the outputs."""
    del graph.value_info[:]  # shapes that were
    for value in graph.input:
        if value.name == _IDS:
            value.type.tensor_type.shape.dim[1].dim_value = prompt_tokens
    for value in graph.output:
        value.type.tensor_type.shape.dim[2].dim_value = states
    graph.output.append(helper.make_tensor_value_info(MASK, TensorProto.FLOAT, [1, 1, states, 1]))
