"""``f2edge targets`` and ``devices``."""

from __future__ import annotations

from command import f2edge, f2edge_process

from f2edge.targets import TARGETS


def test_targets() -> None:
    """All six, each on its line, and which are there yet."""
    outcome = f2edge("targets")
    assert (outcome.code, outcome.stderr) == (0, "")
    lines = outcome.stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["cpu", "onnx", "igpu", "npu", "jetson", "rtx"]
    assert [" yes " in line for line in lines] == [True, True, False, False, True, True]


def test_targets_json() -> None:
    """The same for machines."""
    found = f2edge("targets", "--json").json
    assert [target["name"] for target in found] == list(TARGETS)
    assert list(found[0]) == ["name", "runtime", "device", "precision", "why", "available"]


def test_devices() -> None:
    """Every engine sees the CPU, and which target is meant for it."""
    found = f2edge("devices", "--json").json
    assert all(list(device) == ["runtime", "device", "name", "target"] for device in found)
    cpus = {(device["runtime"], device["target"]) for device in found if device["device"] == "CPU"}
    assert cpus == {("openvino", "cpu"), ("onnxruntime", "onnx")}
    assert len(f2edge("devices").stdout.splitlines()) == len(found) + 1


def test_devices_without_an_engine() -> None:
    """An engine that is not installed is left out."""
    outcome = f2edge_process("devices", "--json", first="import sys; sys.modules['onnxruntime'] = None")
    assert outcome.code == 0
    assert {device["runtime"] for device in outcome.json} == {"openvino"}
