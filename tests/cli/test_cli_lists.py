"""``f2edge targets`` and ``devices``."""

from __future__ import annotations

from f2edge.targets import TARGETS
from tests.support.command import f2edge, f2edge_process


def test_targets() -> None:
    """Each target has one line, which includes the reason for its precision."""
    outcome = f2edge("targets")
    assert (outcome.code, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(TARGETS)
    assert all(target.why in line for target, line in zip(TARGETS.values(), lines, strict=True))


def test_targets_json() -> None:
    """With --json, the targets are printed as JSON, with their precisions and architectures."""
    targets = f2edge("targets", "--json").json
    assert [target["name"] for target in targets] == list(TARGETS)
    assert targets[0]["precisions"] == {"vision": "fp16", "encoder": "fp16", "decoder": "fp16"}
    assert targets[0]["architectures"] == ["x86-64", "arm64"]


def test_devices() -> None:
    """Every engine lists the CPU with its memory and the target that is meant for it."""
    devices = f2edge("devices", "--json").json
    keys = ["runtime", "device", "name", "driver", "memory_mib", "capabilities", "target"]
    assert all(list(device) == keys for device in devices)
    assert all(device["memory_mib"] > 1000 for device in devices if device["device"] == "CPU")
    cpus = {(device["runtime"], device["target"]) for device in devices if device["device"] == "CPU"}
    assert cpus == {("openvino", "cpu"), ("onnxruntime", "onnx")}
    assert len(f2edge("devices").stdout.splitlines()) == len(devices) + 1


def test_devices_without_an_engine() -> None:
    """An engine that is not installed is left out; stderr names the extra to install and the devices not seen."""
    outcome = f2edge_process("devices", "--json", first="import sys; sys.modules['onnxruntime'] = None")
    assert outcome.code == 0
    assert "onnxruntime is not installed; run: pip install 'f2edge[onnx]'" in outcome.stderr.splitlines()
    assert ("no Intel NPU" in outcome.stderr) == all(device["device"] != "NPU" for device in outcome.json)
    assert {device["runtime"] for device in outcome.json} == {"openvino"}
