"""Small ONNX graphs, and what ONNX Runtime makes of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from f2edge.arrays import FloatArray

UNSIGNED = "session.x64quantprecision"
"""ONNX Runtime's setting for products that do not saturate without VNNI."""


def make_model(nodes: Sequence[onnx.NodeProto], shape: Sequence[int], **constants: Any) -> onnx.ModelProto:
    """Return a graph from x, a float tensor of this shape, to y; the nodes are named after their outputs."""
    for node in nodes:
        node.name = f"node_{node.output[0]}"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model: onnx.ModelProto, x: FloatArray, *, plain: bool = False, unsigned: bool = True) -> FloatArray:
    """Return y.

    Args:
        model: the graph.
        x: its input.
        plain: run every node as it is, so that Q/DQ nodes mean float arithmetic.
        unsigned: turn INT8 weights into unsigned ones where products saturate.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    if plain:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    elif unsigned:
        options.add_session_config_entry(UNSIGNED, "1")
    y: FloatArray = ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]
    return y


def kinds(model: onnx.ModelProto) -> Counter[str]:
    """Count the operators of a graph."""
    return Counter(node.op_type for node in model.graph.node)


def optimized(graph: Path, written: Path) -> onnx.ModelProto:
    """Return the graph that ONNX Runtime makes of a file when it loads it, without its weights."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that an optimized graph is for this machine only
    options.optimized_model_filepath = str(written)
    options.add_session_config_entry(UNSIGNED, "1")
    ort.InferenceSession(graph, options)
    return onnx.load(written, load_external_data=False)


def check_equal(graph: onnx.GraphProto, truth: onnx.GraphProto) -> None:
    """Compare two quantized graphs node for node, and all constants.

    An engine may round sums differently in a piece: a scale changes in its last digits, a weight between two steps
    moves by one, and the correction of a bias with it.
    """
    assert [node.SerializeToString() for node in graph.node] == [node.SerializeToString() for node in truth.node]
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert values.keys() == {tensor.name for tensor in truth.initializer}
    for tensor in truth.initializer:
        ours, theirs = values[tensor.name].astype(np.float64), numpy_helper.to_array(tensor).astype(np.float64)
        if "scale" in tensor.name:
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, err_msg=tensor.name)
        else:
            step = 1 if tensor.data_type == TensorProto.INT8 else 1e-4
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=step, err_msg=tensor.name)
            assert np.mean(ours != theirs) < 0.01 or step < 1, tensor.name
