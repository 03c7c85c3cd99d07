"""``f2edge targets`` and ``devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from f2edge import machine
from f2edge.targets import TARGETS
from tests.support.command import f2edge, f2edge_process
from tests.support.pretended_cuda import pretend_gpus

if TYPE_CHECKING:
    from pathlib import Path


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
    keys = [
        "runtime",
        "device",
        "name",
        "driver",
        "memory_mib",
        "capabilities",
        "instruction_sets",
        "target",
        "precision",
    ]
    assert all(list(device) == keys for device in devices)
    assert all(device["memory_mib"] > 1000 for device in devices if device["device"] == "CPU")
    cpus = {(device["runtime"], device["target"]) for device in devices if device["device"] == "CPU"}
    assert cpus == {("openvino", "cpu"), ("onnxruntime", "onnx")}
    assert len(f2edge("devices").stdout.splitlines()) == len(devices) + 1


@pytest.mark.parametrize(
    ("line", "sets", "precision"),
    [
        ("flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16\n", ["avx2", "avx512_vnni", "bf16"], "int8"),
        ("flags\t\t: fpu avx2 avx_vnni amx_int8 amx_bf16\n", ["avx2", "avx_vnni", "amx", "bf16"], "int8"),
        ("flags\t\t: fpu sse2 avx2 fma\n", ["avx2"], "fp16"),
        ("Features\t: fp asimd asimdhp asimddp sve i8mm bf16\n", ["asimddp", "i8mm", "sve", "bf16"], "int8"),
        ("Features\t: fp asimd aes pmull crc32 cpuid\n", [], "fp16"),
        ("", [], "fp16"),
    ],
)
def test_the_precision_follows_the_instruction_sets(
    line: str, sets: list[str], precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INT8 where the processor has dot products of 8 bits; both engines see the same instruction sets."""
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}")
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpuinfo")
    cpus = [device for device in f2edge("devices", "--json").json if device["device"] == "CPU"]
    assert [device["instruction_sets"] for device in cpus] == [sets, sets]
    assert next(device["precision"] for device in cpus if device["runtime"] == "openvino") == precision


def test_gpus_of_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no target of their own: they run bundles of the portable one."""
    pretend_gpus(monkeypatch)
    gpus = [device for device in f2edge("devices", "--json").json if device["runtime"] == "onnxruntime"][1:]
    assert [(gpu["device"], gpu["target"], gpu["precision"]) for gpu in gpus] == [
        ("CUDA", "onnx", "fp32"),
        ("CUDA.1", "onnx", "fp32"),
    ]


def test_devices_without_an_engine() -> None:
    """An engine that is not installed is left out; stderr names the extra to install and the devices not seen."""
    outcome = f2edge_process("devices", "--json", first="import sys; sys.modules['onnxruntime'] = None")
    assert outcome.code == 0
    assert "onnxruntime is not installed; run: pip install 'f2edge[onnx]'" in outcome.stderr.splitlines()
    assert ("no Intel NPU" in outcome.stderr) == all(device["device"] != "NPU" for device in outcome.json)
    assert {device["runtime"] for device in outcome.json} == {"openvino"}
