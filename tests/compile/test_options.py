"""What options say of the graphs to come, before anything is compiled."""

from __future__ import annotations

import pytest

from f2edge.bundle.manifest import BACKBONE
from f2edge.compile.options import Options
from f2edge.targets import TARGETS


@pytest.mark.parametrize("target", list(TARGETS))
def test_only_openvino_is_asked_for_bf16(target: str) -> None:
    """The float operations of an INT8 bundle run in bf16 where OpenVINO does so; no other engine is told to."""
    expected = "bf16" if TARGETS[target].runtime == "openvino" else "fp32"
    assert set(Options(TARGETS[target], "int8").compute.values()) == {expected}
    assert Options(TARGETS[target], "int8", graph="backbone").compute == {BACKBONE: expected}
    assert set(Options(TARGETS[target]).compute.values()) == {"fp32"}
