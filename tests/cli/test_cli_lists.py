"""``f2edge targets`` and ``devices``."""

from __future__ import annotations

from f2edge.targets import TARGETS
from tests.support.command import f2edge, f2edge_process


def test_targets() -> None:
    """Each on its line, with the reason for its precision."""
    outcome = f2edge("targets")
    assert (outcome.code, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(TARGETS)
    assert all(target.why in line for target, line in zip(TARGETS.values(), lines, strict=True))


def test_targets_json() -> None:
    """The same for machines."""
    found = f2edge("targets", "--json").json
    assert [target["name"] for target in found] == list(TARGETS)
    assert found[0]["precisions"] == {"vision": "fp16", "encoder": "fp16", "decoder": "fp16"}
    assert found[0]["architectures"] == ["x86-64", "arm64"]


def test_devices() -> None:
    """Every engine sees the CPU, its memory, and which target is meant for it."""
    found = f2edge("devices", "--json").json
    keys = ["runtime", "device", "name", "driver", "memory_mib", "capabilities", "target"]
    assert all(list(device) == keys for device in found)
    assert all(device["memory_mib"] > 1000 for device in found if device["device"] == "CPU")
    cpus = {(device["runtime"], device["target"]) for device in found if device["device"] == "CPU"}
    assert cpus == {("openvino", "cpu"), ("onnxruntime", "onnx")}
    assert len(f2edge("devices").stdout.splitlines()) == len(found) + 1


def test_devices_without_an_engine() -> None:
    """An engine that is not installed is left out; what brings it, and a device that is not seen, stands on stderr."""
    outcome = f2edge_process("devices", "--json", first="import sys; sys.modules['onnxruntime'] = None")
    assert outcome.code == 0
    assert "onnxruntime is not installed; run: pip install 'f2edge[onnx]'" in outcome.stderr.splitlines()
    assert ("no Intel NPU" in outcome.stderr) == all(device["device"] != "NPU" for device in outcome.json)
    assert {device["runtime"] for device in outcome.json} == {"openvino"}
