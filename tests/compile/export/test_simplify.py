"""Exported graphs are as simple as onnxscript's own optimizer makes them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from onnxscript import ir, optimizer

if TYPE_CHECKING:
    from pathlib import Path


def operators(model: ir.Model) -> Counter[str]:
    """Count the nodes of a graph by operator."""
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize("name", ["vision", "encoder", "decoder"])
def test_no_other_rule_applies(name: str, tiny_jetson_bundle: Path) -> None:
    """The optimizer with all its rules, of which ``simplify`` applies a few, changes nothing more."""
    model = ir.load(tiny_jetson_bundle / f"{name}.onnx")
    exported = operators(model)
    optimizer.optimize_ir(model)
    assert operators(model) == exported
