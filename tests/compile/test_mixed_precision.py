"""``--precision auto`` and ``--report``: what is measured, what is chosen, and what the manifest records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from f2edge.bundle.manifest import open_bundle
from f2edge.compile.build import build
from f2edge.compile.mixed_precision import shapes_of
from f2edge.compile.options import Options
from f2edge.errors import CompileError
from f2edge.model import load
from f2edge.targets import TARGETS
from tests.support.pictures import write_pictures

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle

PICTURES = 3


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a few noisy pictures."""
    path = tmp_path_factory.mktemp("auto")
    write_pictures(path / "pictures", PICTURES)
    return path


def compiled(checkpoint: Path, directory: Path, budget: float, *, report: bool = False) -> Bundle:
    """Compile the tiny checkpoint under a budget of loss; all builds share their stages."""
    options = Options(
        TARGETS["cpu"],
        "int8",
        calibration=directory / "pictures",
        samples=PICTURES,
        max_new_tokens=12,
        budget=budget,
        report=report,
        stages=directory / "stages",
    )
    return build(checkpoint, directory / f"bundle {budget}", options)


@pytest.mark.usefixtures("exported")
def test_the_loosest_budget(tiny_checkpoint: Path, directory: Path) -> None:
    """With a budget of 100 %, the fastest mix is chosen, recorded in the manifest, and answers."""
    bundle = compiled(tiny_checkpoint, directory, 1.0, report=True)
    quantization = open_bundle(bundle.path).quantization
    assert quantization
    assert quantization.budget == 1.0
    blocks = quantization.blocks
    assert {block.component for block in blocks} == {"vision", "encoder", "decoder"}
    assert sum(block.operations for block in blocks) == pytest.approx(1, abs=0.25)  # attention is in no INT8 block
    assert all(block.divergence > 0 and block.sqnr_db > 0 for block in blocks)
    assert all(block.loss is not None and block.loss >= 0 for block in blocks)
    mixes = quantization.mixes
    assert mixes[0].chosen == (mixes[0].loss is not None and mixes[0].loss <= 1.0)
    assert sum(mix.chosen for mix in mixes) == 1
    assert set(bundle.recipe.precision.values()) == {"int8"}  # as requested, whatever the mix
    assert set(quantization.int8) <= {(block.component, block.name) for block in blocks}
    assert load(bundle.path).run(directory / "pictures" / "0.png", "caption").token_ids[0] == 2
    assert not list((directory / "stages").glob(".*"))  # variants are not kept


@pytest.mark.slow
@pytest.mark.usefixtures("exported")
def test_no_budget_at_all(tiny_checkpoint: Path, directory: Path) -> None:
    """With a budget of 0, the chosen mix loses nothing on the calibration pictures."""
    quantization = compiled(tiny_checkpoint, directory, 0.0).quantization
    assert quantization
    (chosen,) = [mix for mix in quantization.mixes if mix.chosen]
    assert chosen.loss == 0.0
    assert [block.loss for block in quantization.blocks] == [None] * len(quantization.blocks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(TARGETS["cpu"], "int8", budget=2.0), r"`budget` 200%: give a loss from 0% to 100%"),
        (Options(TARGETS["cpu"], "fp16", report=True), r"`report` goes with"),
        (Options(TARGETS["cpu"], "int8", budget=0.01), r"give `calibration`"),
    ],
)
def test_options_that_do_not_go_together(options: Options, message: str, tmp_path: Path) -> None:
    """Options that contradict each other are refused before anything is loaded."""
    with pytest.raises(CompileError, match=message):
        build(tmp_path / "none", tmp_path / "bundle", options)


def test_shapes_of_a_graph(tiny_jetson_bundle: Path) -> None:
    """Symbolic sizes are replaced by the sizes of a sample's inputs."""
    model = onnx.load(tiny_jetson_bundle / "encoder.onnx", load_external_data=False)
    inputs = {"image_features": np.zeros((1, 10, 64), np.float32), "input_ids": np.zeros((1, 9), np.int64)}
    shapes = shapes_of(model, inputs)
    assert shapes["cross.0.key"] == (1, 2, 19, 32)
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    assert all(0 not in shapes[node.output[0]] for node in products)
