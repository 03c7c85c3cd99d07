"""Decoders in bf16 on OpenVINO's CPU: what they multiply by comes in bf16, and their logits stay in fp32.

At each step the cross-attention reads the keys and values of all encoder states, as much as a quarter of the weights;
in bf16 that is half, and its products run twice as fast (docs/performance.md).  A processor without bf16, a GPU and
whatever OpenVINO chooses by itself take the graphs as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from openvino.preprocess import PrePostProcessor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from f2edge.arrays import FloatArray
    from f2edge.targets import Compute


def decodes_in_bf16(core: ov.Core, devices: Mapping[str, str], compute: Mapping[str, Compute]) -> bool:
    """Whether the decoder asks for bf16, and the processor that it and the encoder run on has it."""
    wanted = compute.get("decoder") == "bf16" and devices["encoder"] == devices["decoder"] == "CPU"
    return wanted and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def with_bf16_cross(model: ov.Model) -> ov.Model:
    """An encoder that gives, or a decoder that takes, the cross-attention's keys and values in bf16."""
    ports = PrePostProcessor(model)
    for port in filter(_is_cross, model.inputs):
        ports.input(port.get_any_name()).tensor().set_element_type(ov.Type.bf16)
    for port in filter(_is_cross, model.outputs):
        ports.output(port.get_any_name()).tensor().set_element_type(ov.Type.bf16)
    return ports.build()


def _is_cross(port: ov.Output) -> bool:
    return bool(port.get_any_name().startswith("cross."))


def split_head(decoder: ov.Model) -> tuple[ov.Model, ov.Model]:
    """The decoder's layers, and its head with all that follows from the logits; ``decoder`` itself is used up.

    The plugin gives what any product computes in the precision that the graph is compiled for, and logits in bf16 would
    tie.  A graph of its own is compiled for fp32, and takes no longer.  What leads to an output without a product on
    the way stays in fp32 as well: the states, and so the residual stream and the layer norms.

    Args:
        decoder: with an output ``logits``, the result of a product whose first input are the states (beams, d_model).
    """
    product = decoder.output("logits").get_node().input_value(0).get_node()
    states = product.input_value(0)
    taken = ops.parameter(states.get_partial_shape(), ov.Type.f32, name="last_hidden_states")
    product.input(0).replace_source_output(taken.output(0))
    given = ops.result(states)
    results, inputs = decoder.get_results(), decoder.get_parameters()
    return ov.Model([given], decoder.get_sinks(), inputs, "decoder"), ov.Model(results, [taken], "head")


def to_fp32(tensor: ov.Tensor) -> FloatArray:
    """A copy as an array; numpy has no bf16, which is the upper half of fp32."""
    if tensor.element_type != ov.Type.bf16:
        return np.array(tensor.data)
    values: FloatArray = (tensor.data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values
