"""Prepare the graphs of a decoder that computes in bf16 on OpenVINO's CPU and keeps its logits in fp32.

At each step the cross-attention reads the keys and values of all encoder states, which take up to a quarter of the
memory that the weights take.  In bf16 they take half of that, and the products with them run twice as fast
(docs/performance-design.md).  On CPUs without bf16, on GPUs and under ``AUTO`` the graphs are compiled unchanged.
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
    """Tell whether the decoder will compute in bf16.

    Args:
        core: OpenVINO.
        devices: the device of each component; the encoder has to run on the CPU beside the decoder.
        compute: the data type that each component asks for.

    Returns:
        Whether the decoder asks for bf16 and this CPU supports it.
    """
    wanted = compute.get("decoder") == "bf16" and devices["encoder"] == devices["decoder"] == "CPU"
    return wanted and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def with_bf16_cross(model: ov.Model) -> ov.Model:
    """Change the cross-attention's keys and values to bf16, in an encoder's outputs or a decoder's inputs."""
    ports = PrePostProcessor(model)
    for port in filter(_is_cross, model.inputs):
        ports.input(port.get_any_name()).tensor().set_element_type(ov.Type.bf16)
    for port in filter(_is_cross, model.outputs):
        ports.output(port.get_any_name()).tensor().set_element_type(ov.Type.bf16)
    return ports.build()


def _is_cross(port: ov.Output) -> bool:
    return bool(port.get_any_name().startswith("cross."))


def split_head(decoder: ov.Model) -> tuple[ov.Model, ov.Model]:
    """Split a decoder into its layers and its head: the product that gives the logits, and all that follows.

    The plugin stores the result of every product in the precision that the graph is compiled for.  Logits in bf16
    would tie, so the head becomes a graph of its own that is compiled for fp32; that takes no longer.  An output that
    no product stands in front of stays in fp32 too: the states, and with them the residual stream and the layer norms.

    Args:
        decoder: a graph whose output ``logits`` is a product with the states (beams, d_model) as its first input.
            It is taken apart and cannot be used afterwards.

    Returns:
        The layers, which give the states, and the head, which takes them.
    """
    product = decoder.output("logits").get_node().input_value(0).get_node()
    states = product.input_value(0)
    head_input = ops.parameter(states.get_partial_shape(), ov.Type.f32, name="last_hidden_states")
    product.input(0).replace_source_output(head_input.output(0))
    layers_output = ops.result(states)
    results, inputs = decoder.get_results(), decoder.get_parameters()
    layers = ov.Model([layers_output], decoder.get_sinks(), inputs, "decoder")
    return layers, ov.Model(results, [head_input], "head")


def to_fp32(tensor: ov.Tensor) -> FloatArray:
    """Copy an fp32 or bf16 tensor to a float32 array; numpy has no bf16, which is the upper half of an fp32 number."""
    if tensor.element_type != ov.Type.bf16:
        return np.array(tensor.data)
    values: FloatArray = (tensor.data.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values
