"""Graphs from OpenVINO's cache on the CPU compute as fast as graphs that were compiled afresh."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import f2edge
from f2edge.bundle.sealing import is_sealed
from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.runtimes.openvino.decoders import forget_idle
from f2edge.targets import TARGETS
from tests.support.command import f2edge_process
from tests.support.pictures import write_pictures

EMBEDDED = Path(__file__).parents[3] / "demo" / "checkpoint"
SAMPLES = 2


def products(path: Path) -> dict[str, Counter[tuple[str, str]]]:
    """Count the linear layers of each graph, by the type of their weights and by their kernel."""
    forget_idle()  # a new process has no decoder of an earlier model
    model = f2edge.load(path)
    model.run(np.full((40, 60, 3), 90, np.uint8), "od", max_new_tokens=4)  # kernels are chosen when they first run
    runtime: Any = model.runtime
    return {name: Counter(map(kind, products_of(graph))) for name, graph in runtime._compiled.items()}


def products_of(compiled: Any) -> list[Any]:
    """Return the plugin's nodes for linear layers."""
    nodes = compiled.get_runtime_model().get_ordered_ops()
    return [node for node in nodes if node.get_rt_info()["layerType"].astype(str) == "FullyConnected"]


def kind(product: Any) -> tuple[str, str]:
    """Return the type of a node's weights, and its kernel."""
    weights = product.input_value(1).get_node().get_rt_info()["outputPrecisions"]
    return str(weights.astype(str)), str(product.get_rt_info()["primitiveType"].astype(str))


def check(bundle: Path, cache: Path) -> None:
    """Check that a second start, with the first one's cache, uses the same weights and kernels."""
    fresh = products(bundle)
    assert list(cache.glob("*/*.blob"))
    assert products(bundle) == fresh


def test_fp16_weights_stay_fp16(tmp_path: Path, stages: Path, cache: Path) -> None:
    """A second start multiplies by fp16 weights as the first one does; OpenVINO's cache would not (docs/traps.md).

    The tiny model's weights are too small to show it, hence the embedded checkpoint.
    """
    build(EMBEDDED, tmp_path / "bundle", Options(TARGETS["cpu"], "fp16", stages=stages))
    check(tmp_path / "bundle", cache)


def test_int8_and_int4_weights_stay_what_they_are(
    tiny_checkpoint: Path, tmp_path: Path, stages: Path, cache: Path
) -> None:
    """A second start multiplies by INT8 weights, and by a decoder's INT4 weights, as the first one does."""
    write_pictures(tmp_path / "pictures", SAMPLES)
    options = Options(
        TARGETS["cpu"],
        "int8",
        calibration=tmp_path / "pictures",
        samples=SAMPLES,
        decoder_weights="int4",
        stages=stages,
    )
    build(tiny_checkpoint, tmp_path / "bundle", options)
    check(tmp_path / "bundle", cache)


def test_a_bit_that_was_lost_is_noticed(tiny_bundle: Path, cache: Path) -> None:
    """A cached graph with one other bit is made anew by the next process, which writes nothing if all is whole."""
    start(tiny_bundle)
    blobs = {path: path.read_bytes() for path in cache.glob("*/*.blob")}
    assert blobs
    written = times(cache)
    start(tiny_bundle)
    assert times(cache) == written
    spoilt = {path: data[:-200] + bytes([data[-200] ^ 1]) + data[-199:] for path, data in blobs.items()}
    for path, data in spoilt.items():
        path.write_bytes(data)
    start(tiny_bundle)
    assert all(path.read_bytes() != data for path, data in spoilt.items())
    assert all(is_sealed(path.parent) for path in spoilt)


def start(bundle: Path) -> None:
    """Load a bundle in a process of its own."""
    assert f2edge_process("verify", bundle).code == 0


def times(cache: Path) -> dict[Path, int]:
    """Return when each file of the cache was written."""
    return {path: path.stat().st_mtime_ns for path in cache.glob("*/*") if path.name != "lock"}
