"""The decoder's state in OpenVINO: the kernels that the CPU plugin builds of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import openvino as ov

from f2edge.bundle.manifest import open_bundle

if TYPE_CHECKING:
    from pathlib import Path


def layer_type(node: ov.Node) -> str:
    """Return the kind of kernel that runs a node of a compiled model."""
    return str(node.get_rt_info()["layerType"].astype(str))


def test_state_and_attention_are_one_kernel(tiny_bundle: Path) -> None:
    """Each layer's self-attention is one kernel with its state, without concatenation or reordering beside it."""
    bundle = open_bundle(tiny_bundle)
    core = ov.Core()
    model = core.read_model(bundle.file("decoder"), bundle.path / "weights.bin")
    compiled = core.compile_model(model, "CPU", {"SNIPPETS_MODE": "DISABLE"})
    nodes = compiled.get_runtime_model().get_ordered_ops()
    kinds = Counter(layer_type(node) for node in nodes)
    layers = bundle.geometry.decoder_layers
    assert kinds["ScaledDotProductAttention"] == layers
    assert kinds["MemoryInput"] == kinds["MemoryOutput"] == 2 * layers
    gathered = [node for node in nodes if layer_type(node) == "Gather" and node.get_output_element_type(0).is_real()]
    assert len(gathered) <= 3  # of embeddings and positions; the number of questions is an integer
