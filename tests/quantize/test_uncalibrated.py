"""INT8 without calibration pictures: integer weights in linear layers, activations that the device rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import openvino as ov
import pytest

from f2edge.bundle.manifest import COMPONENTS, Bundle, open_bundle
from f2edge.compile import steps
from f2edge.compile.build import build
from f2edge.compile.options import Listener, Options
from f2edge.model import load
from f2edge.quantize.blocks import block_of
from f2edge.quantize.policy import POLICIES
from f2edge.runtimes.openvino.integer import faults_of
from f2edge.targets import TARGETS
from f2edge.verify import verify
from tests.support.checkpoints import copying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENGINES = ("cpu", "onnx")


@pytest.fixture(scope="module")
def notices() -> list[str]:
    """Return what the compilations of this module tell the user."""
    return []


@pytest.fixture(scope="module")
def bundles(
    tiny_checkpoint: Path, tiny_jetson_bundle: Path, tmp_path_factory: pytest.TempPathFactory, notices: list[str]
) -> Iterator[dict[str, Bundle]]:
    """Yield the tiny checkpoint in INT8 without calibration, by target."""
    folder = tmp_path_factory.mktemp("uncalibrated")
    listener = Listener(notice=notices.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "export", copying(tiny_jetson_bundle))
        yield {
            name: build(tiny_checkpoint, folder / name, Options(TARGETS[name], "int8"), listener=listener)
            for name in ENGINES
        }


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_at_least_as_exact_as_calibrated(engine: str, bundles: dict[str, Bundle], tiny_int8: Path) -> None:
    """Every component is off by more than float noise, and by less than with scales that were calibrated."""
    verified, calibrated = verify(load(bundles[engine].path)), open_bundle(tiny_int8 / "bundle").verified
    assert verified.passed
    assert calibrated
    for name, component in verified.components.items():
        assert component.precision == "int8"
        assert component.relative_error
        assert 1e-4 < component.relative_error < (calibrated.components[name].relative_error or 0), name


def test_another_device_may_round_what_this_one_does_not(bundles: dict[str, Bundle], tiny_int8: Path) -> None:
    """A component may be off by four times what was recorded without calibration, and by twice with it."""
    for path, factor in ((bundles["onnx"].path, 4), (tiny_int8 / "bundle", 2)):
        recorded, now = open_bundle(path).verified, verify(load(path))
        assert recorded
        error = recorded.components["vision"].relative_error
        assert error
        assert now.components["vision"].tolerance == pytest.approx(factor * error)


def test_the_manifest_tells_whether_int8_is_calibrated(
    bundles: dict[str, Bundle], tiny_int8: Path, tiny_bundle: Path
) -> None:
    """The recipe says so of each bundle, and says nothing of one without INT8."""
    assert [bundles[engine].recipe.calibrated for engine in ENGINES] == [False, False]
    assert open_bundle(tiny_int8 / "bundle").recipe.calibrated is True
    assert open_bundle(tiny_bundle).recipe.calibrated is None


def test_each_compilation_says_that_pictures_help(bundles: dict[str, Bundle], notices: list[str]) -> None:
    """One line of each compilation names the option."""
    assert ["`calibration`" in notice for notice in notices] == [True] * len(bundles)


@pytest.mark.parametrize("component", COMPONENTS)
def test_onnxruntime_multiplies_in_blocks(component: str, bundles: dict[str, Bundle]) -> None:
    """Every linear layer is one operator that rounds its activations; none gets weights that became float again."""
    model = onnx.load(bundles["onnx"].file(component), load_external_data=False)
    kinds = [node.op_type for node in model.graph.node]
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {node.output[0] for node in model.graph.node if node.op_type == "Cast" and node.input[0] in constants}
    floats = {
        block_of(node.name)
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and constants.intersection(node.input)
    }
    assert kinds.count("MatMulNBits") > 0
    assert not {"DequantizeLinear", "QuantizeLinear", "DynamicQuantizeMatMul"}.intersection(kinds)
    assert floats <= {*POLICIES[component].float_blocks, "head"}


@pytest.mark.parametrize("component", COMPONENTS)
def test_openvino_gets_integer_weights(component: str, bundles: dict[str, Bundle]) -> None:
    """Products take INT8 weights and float activations, which no known fault concerns; other weights are in half."""
    model = ov.Core().read_model(bundles["cpu"].file(component), bundles["cpu"].path / "weights.bin")
    constants = [node for node in model.get_ops() if node.get_type_name() == "Constant" and np.prod(node.shape) >= 1024]
    matrices = [node for node in constants if max(node.shape) < np.prod(node.shape)]
    kinds = {node.get_element_type().get_type_name() for node in matrices}
    assert "i8" in kinds
    assert "f32" not in kinds
    assert faults_of(model, "CPU") == frozenset()


def test_only_vision_and_encoder_are_rounded_in_large_groups(bundles: dict[str, Bundle]) -> None:
    """OpenVINO keeps its own groups for the decoder, whose steps have few rows."""
    compiled = load(bundles["cpu"].path).runtime._compiled  # type: ignore[attr-defined]
    groups = [int(compiled[name].get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE")) for name in COMPONENTS]
    assert groups[:2] == [128, 128]
    assert groups[2] != 128


def test_four_bits_need_no_pictures_either(tiny_checkpoint: Path, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """The decoder may have INT4 weights; the encoder still shares its table, so the bundle gets smaller."""
    options = Options(TARGETS["cpu"], "int8", decoder_weights="int4")
    assert build(tiny_checkpoint, tmp_path / "int4", options).size_bytes < bundles["cpu"].size_bytes
