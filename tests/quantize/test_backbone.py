"""A backbone in INT8: calibrated on pictures or not, with the noise of each level in the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

import f2edge
from f2edge.bundle.manifest import open_bundle
from f2edge.calibration.recorder import Records
from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.quantize.ptq import quantize
from f2edge.targets import TARGETS
from tests.support.checkpoints import initialise, write_checkpoint
from tests.support.onnx_graphs import check_equal
from tests.support.pictures import write_pictures

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle

PICTURES = 4
STAGES = 4


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a checkpoint as it is when training begins, whose noise dies out, and pictures."""
    path = tmp_path_factory.mktemp("int8")
    write_checkpoint(path / "checkpoint", fill=initialise)
    write_pictures(path / "pictures", PICTURES)
    return path


def compiled(directory: Path, target: str, *, calibrated: bool) -> Bundle:
    """Compile the checkpoint to INT8, unless an earlier test has."""
    path = directory / f"{target}-{calibrated}"
    pictures = {"calibration": directory / "pictures", "samples": PICTURES} if calibrated else {}
    options = Options(TARGETS[target], "int8", graph="backbone", stages=directory / "stages", **pictures)  # type: ignore[arg-type]
    return open_bundle(path) if path.exists() else build(directory / "checkpoint", path, options)


@pytest.mark.parametrize("target", ["onnx", "cpu"])
def test_calibrated(target: str, directory: Path) -> None:
    """Each level has at least 20 dB, which the manifest records, and pictures of another size work."""
    bundle = compiled(directory, target, calibrated=True)
    assert bundle.recipe.calibrated is True
    assert bundle.recipe.precision == {"backbone": "int8"}
    assert bundle.verified
    assert list(bundle.verified.components) == ["c2", "c3", "c4", "c5"]
    assert all(20 < (level.sqnr_db or 0) < 80 for level in bundle.verified.components.values())
    with f2edge.load_backbone(bundle.path) as backbone:
        maps = backbone.features(np.zeros((70, 130, 3), np.uint8))
    assert maps["c5"].shape == (1, 64, 2, 4)
    assert all(np.isfinite(each).all() for each in maps.values())


def test_products_are_integer(directory: Path) -> None:
    """In ONNX Runtime the linear layers are products of integers, and no convolution is quantized."""
    bundle = compiled(directory, "onnx", calibrated=True)
    graph = onnx.load(bundle.file("backbone"), load_external_data=False).graph
    kinds = [node.op_type for node in graph.node]
    blocks = 2 * 5  # spatial and channel
    assert kinds.count("MatMulIntegerToFloat") == 6 * blocks
    quantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    assert not any(quantized.intersection(node.input) for node in graph.node if node.op_type == "Conv")


@pytest.mark.parametrize("target", ["onnx", "cpu"])
def test_without_calibration(target: str, directory: Path) -> None:
    """Weights alone are quantized, which the manifest tells."""
    bundle = compiled(directory, target, calibrated=False)
    assert bundle.recipe.calibrated is False
    assert bundle.verified
    assert all((level.sqnr_db or 0) > 20 for level in bundle.verified.components.values())


def test_pieces_give_what_the_whole_graph_gives(directory: Path, tmp_path: Path) -> None:
    """Maps that are results on the way are cut between, and nothing changes, though sizes of the graph are open."""
    geometry = compiled(directory, "onnx", calibrated=True).geometry
    source = next(directory.glob("stages/export-backbone-*/backbone.onnx"))
    records = Records(next(directory.glob("stages/record*")), geometry)
    quantized = {}
    for limit in (2**40, 2**20):
        (place := tmp_path / str(limit)).mkdir()
        quantized[limit] = quantize("backbone", source, records, place, limit=limit)
    whole, pieces = (len(list((tmp_path / str(limit)).glob("*.onnx"))) for limit in quantized)
    assert whole == 1
    assert pieces > STAGES
    check_equal(quantized[2**20].graph, quantized[2**40].graph)
