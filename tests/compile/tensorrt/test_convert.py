"""Engines built with ``tensorrt_rtx`` where there is no GPU: all three graphs in fp32, fp16 and INT8.

Without a driver the library refuses to load an engine, so names, types and shapes are checked on the network that an
engine is built of, and loading up to the driver's refusal; tests marked ``gpu`` check the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import tensorrt_rtx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from f2edge.bundle.manifest import COMPONENTS, Bundle, open_bundle
from f2edge.compile import steps
from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.compile.tensorrt.convert import compile_tensorrt
from f2edge.errors import CompileError
from f2edge.quantize.onnx_files import WeightFile
from f2edge.runtimes.tensorrt.build import BuildOptions, Built, build_engine, parse
from f2edge.runtimes.tensorrt.library import make_log
from f2edge.runtimes.tensorrt.profiles import profiles
from f2edge.targets import TARGETS
from tests.support.checkpoints import TINY, copying

if TYPE_CHECKING:
    from pathlib import Path

    from f2edge.runtimes.tensorrt.profiles import Profile
    from f2edge.targets import Precision

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
KEY_VALUES = [f"{layer}.{part}" for layer in range(2) for part in ("key", "value")]
NAMES = {
    "vision": ({"pixel_values"}, {"image_features"}),
    "encoder": ({"image_features", "input_ids"}, {f"cross.{name}" for name in KEY_VALUES}),
    "decoder": (
        {"input_ids", "position", "beam_idx", *(f"{kind}.{name}" for kind in ("past", "cross") for name in KEY_VALUES)},
        {"candidate_ids", "candidate_logits", "log_sum_exp", "logits", *(f"present.{name}" for name in KEY_VALUES)},
    ),
}


@pytest.fixture(scope="module")
def bundles(
    tiny_checkpoint: Path, tiny_jetson_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    """Compile the tiny checkpoint for TensorRT in each precision; the graphs are exported once."""
    path = tmp_path_factory.mktemp("tensorrt")
    (path / "pictures").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), np.uint8)
    for index, picture in enumerate(noise):
        Image.fromarray(picture).save(path / "pictures" / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "export", copying(tiny_jetson_bundle))
        jetson, calibration = TARGETS["jetson"], path / "pictures"
        return {
            "fp32": open_bundle(tiny_jetson_bundle),
            "fp16": build(tiny_checkpoint, path / "fp16", Options(jetson)),
            "int8": build(tiny_checkpoint, path / "int8", Options(jetson, "int8", calibration=calibration)),
        }


def profile_of(bundle: Bundle, component: str) -> Profile:
    """Return the ranges of a component's shapes."""
    return profiles(bundle.geometry, bundle.generation)[component]


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_engines_are_built(precision: str, component: str, bundles: dict[str, Bundle]) -> None:
    """Each engine is built, and loads except for a missing driver; progress rises to at most 1."""
    bundle, shares = bundles[precision], list[float]()
    built = build_engine(
        tensorrt_rtx,
        bundle.file(component),
        profile_of(bundle, component),
        BuildOptions(workspace=2**28, tf32=precision != "fp32"),
        shares.append,
    )
    assert len(built.plan) > 100_000
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] <= 1
    log = make_log(tensorrt_rtx)
    engine = tensorrt_rtx.Runtime(log).deserialize_cuda_engine(built.plan)
    if engine is None:
        assert "driver" in log.errors[0], log.errors
    else:
        names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        assert names == set.union(*NAMES[component])


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_networks(precision: str, component: str, bundles: dict[str, Bundle]) -> None:
    """Names, types and shapes of inputs and outputs are right; the profile covers the dynamic inputs and no others."""
    bundle, log = bundles[precision], make_log(tensorrt_rtx)
    builder = tensorrt_rtx.Builder(log)
    network, parser = parse(tensorrt_rtx, builder, log, bundle.file(component))
    inputs = {t.name: t for t in map(network.get_input, range(network.num_inputs))}
    outputs = {t.name: t for t in map(network.get_output, range(network.num_outputs))}
    assert (set(inputs), set(outputs)) == NAMES[component]
    for name, tensor in (inputs | outputs).items():
        whole = name in ("input_ids", "position", "beam_idx", "candidate_ids")
        narrow = name.startswith(("past", "cross", "present")) and precision != "fp32"
        expected = tensorrt_rtx.int64 if whole else tensorrt_rtx.float16 if narrow else tensorrt_rtx.float32
        assert tensor.dtype == expected, name
        assert not tensor.is_shape_tensor, name
    profile = profile_of(bundle, component)
    assert profile.keys() == {name for name, tensor in inputs.items() if -1 in tuple(tensor.shape)}
    for name, shapes in profile.items():
        for sizes in zip(tuple(inputs[name].shape), *shapes, strict=True):
            assert sizes[1] <= sizes[2] <= sizes[3]
            assert sizes[0] in (-1, sizes[1])
            assert sizes[0] == -1 or sizes[1] == sizes[3]
    del parser


def test_the_ranges_of_the_profiles(bundles: dict[str, Bundle]) -> None:
    """The ranges cover every prompt that fits, 8 beams, and an answer of all positions."""
    ranges = profiles(TINY, bundles["fp32"].generation)
    assert ranges["vision"] == {}
    assert ranges["encoder"]["input_ids"] == ((1, 1), (1, 12), (1, 86))
    decoder = ranges["decoder"]
    assert decoder["input_ids"] == decoder["beam_idx"] == ((1,), (3,), (8,))
    assert decoder["past.1.value"] == ((1, 2, 0, 32), (3, 2, 24, 32), (8, 2, 79, 32))
    assert decoder["cross.0.key"] == ((1, 2, 11, 32), (1, 2, 22, 32), (1, 2, 96, 32))


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_portable_bundle_names_its_verification(precision: str, bundles: dict[str, Bundle]) -> None:
    """It holds graphs and weights; the manifest says that they were verified on the CPU."""
    bundle = bundles[precision]
    assert {name: sorted(c.sha256) for name, c in bundle.components.items()} == {
        name: [f"{name}.onnx", "weights.data"] for name in COMPONENTS
    }
    assert bundle.verified
    assert bundle.verified.passed
    assert bundle.verified.device == "CPU, ONNX Runtime in place of TensorRT, whose engines were not run"
    errors = [component.relative_error or 0 for component in bundle.verified.components.values()]
    assert all(0 < error < {"fp16": 1e-2, "int8": 0.5}[precision] for error in errors)
    assert (bundle.recipe.runtime, bundle.recipe.device) == ("tensorrt", "CUDA")


def test_engines_ahead_of_time(
    tiny_checkpoint: Path, tiny_jetson_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle for RTX holds engines and no graph, and records the library that built them."""
    monkeypatch.setattr(steps, "export", copying(tiny_jetson_bundle))
    options = Options(TARGETS["rtx"], compute_capabilities=(86, 120))
    bundle = build(tiny_checkpoint, tmp_path / "bundle", options)
    assert {path.name for path in bundle.path.iterdir()} == {
        *(f"{name}.engine" for name in COMPONENTS),
        "golden.npz",
        "manifest.json",
        "tokenizer.json",
    }
    assert bundle.tools["tensorrt-rtx-cu13"] == ".".join(tensorrt_rtx.__version__.split(".")[:4])
    assert bundle.verified
    assert "were not run" in bundle.verified.device
    assert bundle.verified.passed


def test_compute_capabilities_reach_the_builder(
    tiny_jetson_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown one is refused with the list of known ones; known ones reach the builder."""
    source, profile = tiny_jetson_bundle / "encoder.onnx", profile_of(open_bundle(tiny_jetson_bundle), "encoder")
    weights = WeightFile(tmp_path / "weights.data")
    with pytest.raises(CompileError, match="does not build for compute capability 87; it knows 75, 80, 86, 89, 120"):
        compile_tensorrt(
            source,
            tmp_path,
            weights,
            tmp_path,
            target="rtx",
            precision="fp32",
            profile=profile,
            compute_capabilities=(86, 87),
        )
    seen: list[BuildOptions] = []

    def record(_trt: Any, _graph: Path, _profile: Profile, options: BuildOptions) -> Built:
        seen.append(options)
        return Built(b"plan", b"")

    monkeypatch.setattr("f2edge.compile.tensorrt.convert.build_engine", record)
    compile_tensorrt(
        source, tmp_path, weights, tmp_path, target="rtx", precision="fp16", profile=profile, compute_capabilities=(86,)
    )
    compile_tensorrt(source, tmp_path, weights, tmp_path, target="rtx", precision="fp32", profile=profile)
    assert [(options.compute_capabilities, options.tf32) for options in seen] == [((86,), True), ((), False)]
    assert (tmp_path / "encoder.engine").read_bytes() == b"plan"


def test_a_graph_that_the_parser_refuses(tmp_path: Path) -> None:
    """The error names the refused node, here one with a zero point (docs/traps.md)."""
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "the_culprit"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "innocent"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.float32(0.5), "s"), numpy_helper.from_array(np.int8(3), "z")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "vision.onnx")
    with pytest.raises(
        CompileError, match=r"refuses the vision graph: node the_culprit \(QuantizeLinear\): .*zero"
    ) as error:
        build_engine(tensorrt_rtx, tmp_path / "vision.onnx", {})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_a_file_that_is_not_a_graph(content: bytes, tmp_path: Path) -> None:
    """A file that is not an ONNX graph is refused in one line."""
    (tmp_path / "vision.onnx").write_bytes(content)
    with pytest.raises(CompileError, match="the vision") as error:
        build_engine(tensorrt_rtx, tmp_path / "vision.onnx", {})
    assert "\n" not in str(error.value)


def test_a_profile_that_lacks_an_input(tiny_jetson_bundle: Path) -> None:
    """The error gives the builder's own reason."""
    with pytest.raises(CompileError, match=r"cannot build the encoder engine: .*profile"):
        build_engine(tensorrt_rtx, tiny_jetson_bundle / "encoder.onnx", {})
