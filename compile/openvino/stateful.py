"""Turn the self-attention keys and values of the decoder into OpenVINO state, in a form that its plugins fuse."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from openvino._offline_transformations import apply_make_stateful_transformation

from f2edge.compile.export.graphs import layer_names


def make_stateful(model: ov.Model, decoder_layers: int) -> None:
    """Turn ``past.*`` and ``present.*`` of the decoder graph into state, in place.

    The CPU plugin fuses state, reordering by ``beam_idx``, concatenation and attention into one kernel for all lengths
    (docs/traps.md says what happens without).  The fusion needs three things: ``beam_idx`` of 32 bits, a first value
    for each state, and an attention of queries, keys and values alone, without a scale or a mask.
    """
    pasts, presents = layer_names("past", decoder_layers), layer_names("present", decoder_layers)
    apply_make_stateful_transformation(model, dict(zip(pasts, presents, strict=True)))
    states = [node for node in model.get_ordered_ops() if node.get_type_name() == "ReadValue"]
    if all(state.get_output_partial_shape(0).is_static for state in states):
        return  # of fixed length, they begin with zeros that are masked
    model.input("beam_idx").get_node().set_element_type(ov.Type.i32)
    model.validate_nodes_and_infer_types()
    beams = ops.shape_of(model.input("beam_idx"), output_type="i64")
    for state in states:
        _begin_empty(state, beams)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "ScaledDotProductAttention":
            _leave_out_scale(node)
    model.validate_nodes_and_infer_types()


def _begin_empty(state: ov.Node, beams: ov.Node) -> None:
    """Begin with no tokens: (beams, heads, 0, head_dim)."""
    _, heads, _, width = state.get_output_partial_shape(0)
    shape = ops.concat([beams, *(ops.constant([size]) for size in (heads.get_length(), 0, width.get_length()))], 0)
    state.set_arguments([ops.broadcast(ops.constant(np.float32(0)), shape).output(0)])


def _leave_out_scale(attention: ov.Node) -> None:
    """Scale the queries instead, so that the default scale of the attention, 1/sqrt(head_dim), is right."""
    queries, keys, values = (attention.input_value(index) for index in range(3))
    width = queries.get_partial_shape()[3].get_length()
    factor = ops.multiply(attention.input_value(4), ops.constant(np.float32(width**0.5)))
    fused = ops.scaled_dot_product_attention(ops.multiply(queries, factor), keys, values, causal=False)
    fused.set_friendly_name(attention.get_friendly_name())
    for target in attention.output(0).get_target_inputs():
        target.replace_source_output(fused.output(0))
