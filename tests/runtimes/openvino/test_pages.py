"""Memory pages of the file of weights are given back once the graphs are compiled."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import f2edge
from f2edge.placement import Placement
from f2edge.runtimes.openvino import loading
from f2edge.runtimes.openvino.loading import LoadPlan, compile_graphs

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are counted in Linux's way")


def resident_kib(file: Path) -> list[int]:
    """Return the resident memory of each mapping of a file in KiB."""
    sizes, inside = [], False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = rest[-1:] == [str(file)]
        elif inside and first == "Rss:":
            sizes.append(int(rest[0]))
    return sizes


@pytest.fixture
def plan(tiny_bundle: Path, tmp_path: Path) -> LoadPlan:
    """Plan to load a copy of the tiny bundle, whose file of weights no other test has mapped."""
    shutil.copytree(tiny_bundle, tmp_path / "copy")
    return LoadPlan.of(f2edge.open_bundle(tmp_path / "copy"), Placement.on("CPU"))


def test_a_compiled_graph_leaves_no_pages_behind(plan: LoadPlan) -> None:
    """The graphs keep the file mapped, and no page of it in memory."""
    graphs = compile_graphs(plan)
    sizes = resident_kib(plan.graphs["vision"].with_name("weights.bin"))
    assert graphs
    assert sizes
    assert sum(sizes) == 0


def test_the_count_sees_pages(plan: LoadPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless they are given back there are some, so that the test above cannot pass by miscounting."""
    monkeypatch.setattr(loading, "release_mapped_pages", lambda _file: None)
    graphs = compile_graphs(plan)
    assert graphs
    assert sum(resident_kib(plan.graphs["vision"].with_name("weights.bin"))) > 0
