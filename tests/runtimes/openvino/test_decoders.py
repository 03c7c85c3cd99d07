"""Decoders of models that are gone are used again, since OpenVINO does not free them."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from f2edge.bundle.manifest import open_bundle
from f2edge.bundle.writing import MANIFEST
from f2edge.placement import Placement
from f2edge.runtimes.openvino.devices import WEIGHTS
from f2edge.runtimes.openvino.loading import LoadPlan
from f2edge.runtimes.openvino.runtime import OpenVINORuntime

if TYPE_CHECKING:
    from f2edge.bundle.manifest import Bundle

CPU = Placement.on("CPU")
SHIFT = 64


@pytest.fixture
def unfinished(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """Return a bundle in the making, which has no manifest yet."""
    path = shutil.copytree(tiny_bundle, tmp_path / "unfinished")
    (path / MANIFEST).unlink()
    return replace(open_bundle(tiny_bundle), path=path)


def shifted(bundle: Bundle, path: Path) -> Bundle:
    """Return a copy of a bundle whose file of weights holds everything further behind, as beside another graph."""
    shutil.copytree(bundle.path, path)
    (path / WEIGHTS).write_bytes(bytes(SHIFT) + (bundle.path / WEIGHTS).read_bytes())
    for graph in path.glob("*.xml"):
        text = re.sub(r'offset="(\d+)"', lambda found: f'offset="{int(found[1]) + SHIFT}"', graph.read_text())
        graph.write_text(text)
    return replace(bundle, path=path)


def key(bundle: Bundle, placement: Placement = CPU) -> object:
    """Return the key by which the decoder of a bundle is used again."""
    return LoadPlan.of(bundle, placement).decoder_key


def test_what_the_key_of_an_unfinished_decoder_depends_on(unfinished: Bundle, tmp_path: Path) -> None:
    """Its graph, the values of its constants and how it is compiled; not where its weights are."""
    first = key(unfinished)
    other = shifted(unfinished, tmp_path / "shifted")
    assert key(other) == first
    assert key(unfinished, Placement.on("CPU", 1)) != first
    components = {**unfinished.components, "decoder": replace(unfinished.components["decoder"], compute="bf16")}
    assert key(replace(unfinished, components=components)) != first
    assert key(unfinished, Placement.on("GPU")) is None
    weights = bytearray((other.path / WEIGHTS).read_bytes())
    place = re.search(r'offset="(\d+)" size="\d{4,}"', (other.path / "decoder.xml").read_text())
    assert place
    weights[int(place[1])] ^= 1
    (other.path / WEIGHTS).write_bytes(weights)
    assert key(other) != first


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in Linux's /proc")
def test_unfinished_bundles_share_a_decoder(unfinished: Bundle, tmp_path: Path) -> None:
    """A search for a mix of INT8 blocks opens one bundle after the other; no thread stays behind."""

    def threads(bundle: Bundle) -> int:
        OpenVINORuntime(LoadPlan.of(bundle, CPU))
        return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names suffice

    threads(unfinished)
    before = threads(unfinished)
    assert threads(shifted(unfinished, tmp_path / "shifted")) == before
    assert threads(unfinished) == before
