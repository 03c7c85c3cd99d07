"""From a checkpoint to a bundle: its content, the refused inputs, and that a failure leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import stat
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import openvino as ov
import pytest
import torch
from PIL import Image

import f2edge
from f2edge.bundle.manifest import COMPONENTS, GOLDEN, TOKENIZER, Bundle, open_bundle
from f2edge.bundle.writing import MANIFEST
from f2edge.compile import components, steps
from f2edge.compile.build import build, steps_of
from f2edge.compile.options import Listener, Options
from f2edge.errors import BundleError, CheckpointError, CompileError, LimitError
from f2edge.model import Florence2, load
from f2edge.targets import TARGETS
from f2edge.verify import verify
from tests.support.checkpoints import TINY, write_checkpoint, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

CPU, ONNX = Options(TARGETS["cpu"], "fp32"), Options(TARGETS["onnx"], "fp32")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Compile another geometry in fp16 for the CPU: a rectangular image, one decoder layer, padded vocabulary."""
    path = tmp_path_factory.mktemp("other")
    write_checkpoint(path / "rectangle", seed=1, image_size=(64, 160), decoder_layers=1, vocab_size=1664)
    return build(path / "rectangle", path / "bundle", Options(TARGETS["cpu"], max_new_tokens=17))


def leftovers(directory: Path) -> set[str]:
    """Return the names in a directory."""
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize(
    ("target", "kind", "weights"), [("cpu", "xml", "weights.bin"), ("onnx", "onnx", "weights.data")]
)
def test_the_content_of_a_bundle(target: str, kind: str, weights: str, request: pytest.FixtureRequest) -> None:
    """A bundle holds only three graphs with their weights, the tokenizer, the golden cases and the manifest."""
    path: Path = request.getfixturevalue("tiny_bundle" if target == "cpu" else "tiny_onnx_bundle")
    bundle = open_bundle(path)
    assert leftovers(path) == {f"{name}.{kind}" for name in COMPONENTS} | {
        weights,
        TOKENIZER,
        GOLDEN,
        MANIFEST,
    }
    assert bundle.geometry == TINY
    assert (bundle.generation.num_beams, bundle.generation.max_new_tokens) == (3, TINY.decoder_positions)
    recipe = bundle.recipe
    assert (recipe.checkpoint, recipe.target, recipe.device) == ("tiny", target, "CPU")
    assert recipe.precision == dict.fromkeys(COMPONENTS, "fp32")
    assert bundle.tools.keys() >= {"f2edge", "torch", "onnx", "numpy", "tokenizers", "openvino", "onnxruntime"}
    assert [(case.task, case.num_beams) for case in bundle.golden] == [("<CAPTION>", 1), ("<OD>", 3)]
    assert all(case.token_ids[0] == 2 and case.prompt_ids[0] == 0 for case in bundle.golden)
    assert bundle.verified
    assert bundle.verified.passed is True


@pytest.mark.parametrize("name", ["tiny_bundle", "tiny_onnx_bundle"])
def test_a_bundle_holds_no_path_of_this_machine(name: str, request: pytest.FixtureRequest) -> None:
    """No file contains a path of this machine, and all files have the manifest's permissions."""
    path: Path = request.getfixturevalue(name)
    root = Path(__file__).resolve().parents[2]
    places = [
        str(place).encode()
        for place in (root, sys.prefix, f"{Path.home()}/", tempfile.gettempdir(), path.parent.parent)
    ]
    mode = stat.S_IMODE((path / MANIFEST).stat().st_mode)
    for file in path.iterdir():
        content = file.read_bytes()
        assert [place for place in (*places, b".py") if place in content] == [], file.name
        assert stat.S_IMODE(file.stat().st_mode) == mode, file.name


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize("target", ["cpu", "onnx"])
def test_half_precision_halves_the_weights(
    target: str, tiny_checkpoint: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In fp16 the weights take about half the space, the manifest says so, and stages are reported in order."""
    stages: list[str] = []
    bundle = build(
        tiny_checkpoint, tmp_path / "half", Options(TARGETS[target], "fp16"), listener=Listener(stages.append)
    )
    assert stages == [step.name for step in steps_of(Options(TARGETS[target], "fp16"))]
    full = open_bundle(request.getfixturevalue("tiny_bundle" if target == "cpu" else "tiny_onnx_bundle"))
    name = "weights.bin" if target == "cpu" else "weights.data"
    assert 0.45 < (bundle.path / name).stat().st_size / (full.path / name).stat().st_size < 0.6
    assert bundle.recipe.precision == dict.fromkeys(COMPONENTS, "fp16")
    assert {component.precision for component in bundle.components.values()} == {"fp16"}
    assert bundle.verified
    assert all(0 < (one.relative_error or 0) < 1e-2 for one in bundle.verified.components.values())


@pytest.fixture(scope="module")
def in_bf16(tiny_checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Compile the tiny checkpoint in bf16."""
    return build(
        tiny_checkpoint, tmp_path_factory.mktemp("bf16") / "bundle", Options(CPU.target, "bf16", stages=stages)
    )


def test_tower_and_encoder_in_bf16(in_bf16: Bundle) -> None:
    """The weights are stored in fp16; the tower and the encoder ask for bf16, the decoder stays in fp32."""
    bundle = in_bf16
    described = {name: (component.precision, component.compute) for name, component in bundle.components.items()}
    assert described == {"vision": ("fp16", "bf16"), "encoder": ("fp16", "bf16"), "decoder": ("fp16", "fp32")}
    with load(bundle.path) as model:
        hint = model.runtime._compiled["vision"].get_property("INFERENCE_PRECISION_HINT")  # type: ignore[attr-defined]
        supported = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        assert hint == (ov.Type.bf16 if supported else ov.Type.f32)


def test_bf16_that_was_compiled_without_bf16(in_bf16: Bundle) -> None:
    """The error recorded there is that of fp32; a CPU with bf16 is off by more, and passes."""
    bundle = in_bf16
    assert bundle.verified
    recorded = {name: replace(one, relative_error=1e-6) for name, one in bundle.verified.components.items()}
    elsewhere = replace(bundle, verified=replace(bundle.verified, components=recorded))
    with load(bundle.path) as model:
        verified = verify(Florence2(elsewhere, model.runtime, model.tokenizer))
    assert {name: one.tolerance for name, one in verified.components.items()} == dict.fromkeys(COMPONENTS, 0.1)


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "cpu"])
def test_targets_that_do_not_compute_in_bf16(target: str) -> None:
    """They refuse it, and say what to take instead."""
    with pytest.raises(CompileError, match=f"target {target} does not compute in bf16; use fp16 or fp32"):
        Options(TARGETS[target], "bf16").check()


def test_another_geometry(other: Bundle) -> None:
    """A rectangular image, the target's own precision and a limit of tokens are compiled, and the bundle answers."""
    assert other.recipe.precision == dict.fromkeys(COMPONENTS, "fp16")
    assert other.geometry.image_size == (64, 160)
    assert other.geometry.num_image_tokens == 11
    assert other.generation.max_new_tokens == 17
    result = load(other.path).run(Image.effect_noise((50, 40), 60).convert("RGB"), "od")
    assert 2 < len(result.token_ids) <= 18
    assert load(other.path).run(np.zeros((9, 9, 3), np.uint8), "od", max_new_tokens=30).token_ids[0] == 2


@pytest.mark.usefixtures("exported")
def test_an_existing_bundle_is_replaced_only_by_force(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Without ``force``, the build is refused before the checkpoint is read."""
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / MANIFEST).write_text('{"format_version": 0}')
    stages: list[str] = []
    with pytest.raises(BundleError, match="`force` replaces it"):
        build(tmp_path / "none", tmp_path / "bundle", ONNX, listener=Listener(stages.append))
    assert stages == []
    assert build(tiny_checkpoint, tmp_path / "bundle", ONNX, force=True) == open_bundle(tmp_path / "bundle")
    assert leftovers(tmp_path) == {"bundle"}


def fail_with(error: BaseException) -> Callable[..., None]:
    """Return a function that raises the error."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize("function", ["export", "make_golden", "describe", "verify"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (CompileError("broken"), CompileError),
        (OSError(28, "No space left on device"), BundleError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["tool", "full disk", "interrupt"],
)
def test_a_failure_leaves_nothing(
    function: str,
    error: BaseException,
    raised: type[BaseException],
    tiny_checkpoint: Path,
    tiny_onnx_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure at any stage leaves no partial and no scratch files, and the old bundle unchanged."""
    old = shutil.copytree(tiny_onnx_bundle, tmp_path / "bundle")
    before = (old / MANIFEST).read_bytes()
    monkeypatch.setattr(steps, function, fail_with(error))
    for destination in (tmp_path / "new", old):
        with pytest.raises(raised):
            build(tiny_checkpoint, destination, Options(TARGETS["onnx"], "fp32"), force=True)
    assert leftovers(tmp_path) == {"bundle"}
    assert (old / MANIFEST).read_bytes() == before
    open_bundle(old)


@pytest.mark.usefixtures("exported")
@pytest.mark.parametrize("damaged", COMPONENTS)
def test_a_wrongly_compiled_graph_is_named(
    damaged: str, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If an engine's graph differs from the reference, the build is refused and names the component."""
    compiled = components._TOOLS["onnxruntime"]

    def spoil(compiler: Any, graph: Path, precision: Any) -> list[Path]:
        files = compiled(compiler, graph, precision)
        if graph.stem == damaged:
            weights = np.fromfile(files[1], np.float32)
            files[1].with_name("wrong.data").write_bytes((weights * np.float32(1.01)).tobytes())
            model = onnx.load(files[0], load_external_data=False)
            for entry in (entry for tensor in model.graph.initializer for entry in tensor.external_data):
                entry.value = "wrong.data" if entry.key == "location" else entry.value
            onnx.save(model, files[0])
        return files

    monkeypatch.setitem(components._TOOLS, "onnxruntime", spoil)
    with pytest.raises(CompileError, match=rf"do not answer as the reference: .*\b{damaged} is off by \d"):
        build(tiny_checkpoint, tmp_path / "bundle", ONNX)
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize("tokens", [0, -1, TINY.decoder_positions + 1])
def test_max_new_tokens_beyond_the_model(tokens: int, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A limit of tokens out of range is refused before anything is exported."""
    with pytest.raises(LimitError, match=f"`max_new_tokens` {tokens}: this checkpoint takes 1 to 80"):
        build(tiny_checkpoint, tmp_path / "bundle", Options(TARGETS["cpu"], max_new_tokens=tokens))
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize(("size", "message"), [(100, "multiples of 32"), (672, "over what"), (320, "leaves no room")])
def test_image_sizes_that_the_model_cannot_take(size: int, message: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Sizes that are no multiple of 32, exceed the tables, or leave no room for a prompt are refused."""
    with pytest.raises(CheckpointError, match=message):
        build(tiny_checkpoint, tmp_path / "bundle", Options(TARGETS["cpu"], image_size=size))


def test_too_little_room_for_the_golden_questions(tmp_path: Path) -> None:
    """A model without room for the golden prompts is refused before it is exported."""
    write_checkpoint(tmp_path / "checkpoint", encoder_positions=TINY.num_image_tokens + 9)
    stages: list[str] = []
    with pytest.raises(LimitError, match=r"leaves 9 tokens for a prompt, and <OD> takes 12"):
        build(tmp_path / "checkpoint", tmp_path / "bundle", CPU, listener=Listener(stages.append))
    assert stages == ["load"]


def test_a_tokenizer_larger_than_the_model(tmp_path: Path) -> None:
    """A tokenizer with more tokens than the model has embeddings is refused."""
    write_checkpoint(tmp_path / "checkpoint", vocab_size=1300)
    with pytest.raises(CheckpointError, match=r"tokenizer.json has 1399 tokens, the model only 1300"):
        build(tmp_path / "checkpoint", tmp_path / "bundle", CPU)


@pytest.mark.usefixtures("exported")
def test_torch_follows_the_quota(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch computes with the threads that a container's quota pays for, and afterwards with as many as before."""
    monkeypatch.setattr("f2edge.compile.reference.threads.default_threads", lambda: 1)
    before, during = torch.get_num_threads(), set[int]()
    torch.set_num_threads(3)
    try:
        listener = Listener(stage=lambda _: during.add(torch.get_num_threads()))
        build(tiny_checkpoint, tmp_path / "bundle", Options(TARGETS["onnx"], "fp32"), listener=listener)
        assert (during, torch.get_num_threads()) == ({1}, 3)
    finally:
        torch.set_num_threads(before)


def test_open_bundle_equals_the_manifest(tiny_bundle: Path) -> None:
    """``f2edge.open_bundle`` returns the values of the manifest on disk."""
    manifest = json.loads((tiny_bundle / MANIFEST).read_text())
    assert json.loads(json.dumps(f2edge.open_bundle(tiny_bundle).to_json())) == manifest


def test_a_checkpoint_that_is_not_florence(tmp_path: Path) -> None:
    """The error is the checkpoint's own, and no file is left."""
    write_json(tmp_path / "config.json", {"model_type": "bart"})
    with pytest.raises(CheckpointError, match="holds no weights"):
        build(tmp_path, tmp_path / "bundle", CPU)
    assert leftovers(tmp_path) == {"config.json"}
