"""The table of targets: each row is complete, and each device has a recommendation."""

from __future__ import annotations

import pytest

from f2edge.bundle.manifest import COMPONENTS
from f2edge.errors import CompileError
from f2edge.targets import TARGETS, Target, get_target

NAMES = [
    "cpu",
    "onnx",
    "igpu",
    "npu",
    "jetson",
    "jetson-orin-nano",
    "jetson-orin-nx",
    "jetson-agx-orin",
    "jetson-thor",
    "rtx",
]


def test_the_rows() -> None:
    """All targets of the design are in the table, under their own names."""
    assert list(TARGETS) == NAMES
    assert all(name == target.name for name, target in TARGETS.items())


@pytest.mark.parametrize("target", TARGETS.values(), ids=NAMES)
def test_a_row_is_complete(target: Target) -> None:
    """A row has a precision for each component, a sentence on why, and known capabilities and architectures."""
    assert tuple(target.precisions) == COMPONENTS
    assert set(target.precisions.values()) <= {"fp32", "fp16", "int8"}
    assert len(target.why.split()) > 5
    assert {"fp16", "fp32"} & set(target.capabilities)
    assert set(target.architectures) <= {"x86-64", "arm64"}
    assert list(target.memory_gib) == sorted(target.memory_gib)
    assert target.name.startswith("jetson-") == bool(target.memory_gib)


def test_only_the_npu_needs_fixed_shapes() -> None:
    """Intel's NPU is the only target that takes fixed shapes."""
    assert [target.name for target in TARGETS.values() if target.static] == ["npu"]


def test_intels_devices_are_there() -> None:
    """Intel's targets can be compiled for on any machine."""
    for name in ("cpu", "onnx", "igpu", "npu"):
        assert get_target(name) is TARGETS[name]


def test_an_unknown_target() -> None:
    """An unknown target is refused with a suggestion of a similar name, or with all the known ones."""
    with pytest.raises(CompileError, match="unknown target jetson-orin-nona; did you mean jetson-orin-nano"):
        get_target("jetson-orin-nona")
    with pytest.raises(CompileError, match="unknown target vax; known: cpu, onnx"):
        get_target("vax")
