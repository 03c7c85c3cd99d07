"""Threads and memory follow what a container, a service or an affinity mask leaves of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import f2edge.machine as module
from f2edge.machine import default_threads, memory_mib
from f2edge.machine.quotas import cpu_quota, memory_quota
from f2edge.runtimes.onnxruntime.runtime import load_graphs

if TYPE_CHECKING:
    from pathlib import Path

V2 = "0::/kube/pod/app\n"
V1 = "12:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n"
HYBRID = "4:cpu:/docker/1\n0::/docker/1\n"


def written(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """Write files below a mount, and the groups of a process; return both."""
    for name, text in files.items():
        (folder / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mount" / name).write_text(text)
    (folder / "own").write_text(own)
    return folder / "mount", folder / "own"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (V2, {"kube/pod/app/cpu.max": "150000 100000\n"}, 1.5),
        (V2, {"kube/pod/app/cpu.max": "max 100000\n"}, None),
        (V2, {"kube/pod/app/cpu.max": "max 100000\n", "kube/cpu.max": "300000 100000\n"}, 3.0),
        (V2, {"kube/pod/app/cpu.max": "400000 100000\n", "kube/pod/cpu.max": "200000 100000\n"}, 2.0),
        (V2, {"cpu.max": "50000 100000\n"}, 0.5),  # a container sees its own group as the mount
        ("0::/../../other\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {}, None),
        (
            V1,
            {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "100000", "cpu,cpuacct/docker/1/cpu.cfs_period_us": "50000"},
            2.0,
        ),
        (V1, {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.0),
        (V1, {"cpu/docker/1/cpu.cfs_quota_us": "-1\n", "cpu/docker/1/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"memory/docker/1/cpu.cfs_quota_us": "1", "memory/docker/1/cpu.cfs_period_us": "1"}, None),
        (HYBRID, {"cpu/docker/cpu.cfs_quota_us": "100000", "cpu/docker/cpu.cfs_period_us": "100000"}, 1.0),
        (HYBRID, {"unified/docker/1/cpu.max": "70000 100000"}, 0.7),
        (V2, {"kube/pod/app/cpu.max": "much\n"}, None),
        (V2, {"kube/pod/app/cpu.max": "0 0\n"}, None),
        ("nonsense\n\n", {}, None),
    ],
)
def test_the_smallest_limit_counts(own: str, files: dict[str, str], expected: float | None, tmp_path: Path) -> None:
    """That of the group of this process, or of one above it, in version 1 and 2; damaged files limit nothing."""
    assert cpu_quota(*written(tmp_path, own, files)) == expected


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        (V2, {"kube/pod/app/memory.max": "1048576\n"}, 2**20),
        (V2, {"kube/pod/app/memory.max": "max\n"}, None),
        (V2, {"kube/pod/app/memory.max": "max\n", "kube/memory.max": "4096\n"}, 4096),
        (V2, {"memory.max": "8192\n", "kube/memory.max": "4096\n"}, 4096),
        (V1, {"memory/docker/1/memory.limit_in_bytes": "4096\n"}, 4096),
        (V1, {"memory/docker/1/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        (V1, {"cpu/docker/1/memory.limit_in_bytes": "4096\n"}, None),
        (V2, {"kube/pod/app/memory.max": "much\n"}, None),
        ("nonsense\n\n", {}, None),
    ],
)
def test_the_smallest_limit_of_memory(own: str, files: dict[str, str], expected: int | None, tmp_path: Path) -> None:
    """That of the group of this process, or of one above it, in version 1 and 2."""
    assert memory_quota(*written(tmp_path, own, files)) == expected


def test_memory_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit below the memory of the machine counts, a larger one does not."""
    whole = memory_mib()
    assert whole
    for limit, expected in ((2**21, 2), (2**60, whole), (None, whole)):
        monkeypatch.setattr(module, "memory_quota", lambda limit=limit: limit)
        assert memory_mib() == expected


def test_a_system_without_groups(tmp_path: Path) -> None:
    """There is no limit."""
    assert cpu_quota(tmp_path / "none", tmp_path / "neither") is None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine of 4 cores with 2 threads each, all of which this process may use; its folder of cores."""
    for cpu in range(8):
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    monkeypatch.setattr(module, "_TOPOLOGY", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(module, "cpu_quota", lambda: None)
    return tmp_path


@pytest.mark.parametrize(("limit", "threads"), [(None, None), (4.0, None), (2.9, 2), (1.0, 1), (0.2, 1)])
def test_a_quota_limits_threads(
    limit: float | None, threads: int | None, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To whole processors, and only below what the engine would take anyway: one thread for each core."""
    assert machine.is_dir()
    monkeypatch.setattr(module, "cpu_quota", lambda: limit)
    assert default_threads() == threads


@pytest.mark.parametrize(("mine", "threads"), [({0, 1, 2, 3}, 4), ({0, 4}, 1), ({3}, 1)])
def test_a_mask_limits_threads(mine: set[int], threads: int, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the cores that it names, whichever of their two threads."""
    assert machine.is_dir()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: mine)
    assert default_threads() == threads


def test_graphs_on_the_build_side_follow(tiny_onnx_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The float graphs that record the calibration are opened without a placement."""
    monkeypatch.setattr("f2edge.runtimes.onnxruntime.runtime.default_threads", lambda: 1)
    graphs = {name: tiny_onnx_bundle / f"{name}.onnx" for name in ("vision", "encoder", "decoder")}
    assert load_graphs(graphs).threads == 1


THREADS = """
import os, sys
import f2edge, f2edge.runtimes
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, range(os.cpu_count()))  # the process of this test has one core (tests/conftest.py)
f2edge.runtimes.default_threads = lambda: 1
print(*(f2edge.load(sys.argv[1], threads=threads).runtime.threads for threads in (None, 2)))
"""


@pytest.mark.parametrize("bundle", ["tiny_bundle", "tiny_onnx_bundle"])
def test_engines_follow(bundle: str, request: pytest.FixtureRequest) -> None:
    """Unless the caller names a number of threads."""
    command = [sys.executable, "-c", THREADS, str(request.getfixturevalue(bundle))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["1", "2"]  # noqa: S603
