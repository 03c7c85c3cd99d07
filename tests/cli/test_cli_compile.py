"""``f2edge compile``: its output, its errors, and the files that a failed or killed compilation leaves behind."""

from __future__ import annotations

import json
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.torch import load_file, save_file

import f2edge.compile.build as build_module
from f2edge.bundle.manifest import open_bundle
from f2edge.targets import TARGETS
from tests.support.command import Outcome, f2edge, f2edge_process, finish, start

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle


@pytest.fixture
def build_calls(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace ``build`` by a function that returns the tiny bundle; return the list of its recorded calls."""
    calls: list[dict[str, Any]] = []

    def build(checkpoint: str, destination: Path, options: build_module.Options, **more: Any) -> Bundle:
        for step in build_module.steps_of(options):
            more["listener"].stage(step.name)
        calls.append({"checkpoint": checkpoint, "destination": destination, "options": options, **more})
        return open_bundle(tiny_bundle)

    monkeypatch.setattr(build_module, "build", build)
    return calls


@pytest.mark.parametrize(
    ("given", "directory", "weight"),
    [
        ("{}", "a", 1.0),
        ("{}:0.7", "a", 0.7),
        ("{}:-1e-1", "a", -0.1),
        ("{}:v2", "a:v2", 1.0),
        ("{}:2", "a:2", 1.0),
        ("{}:2:3", "a:2", 3.0),
        ("{}:", "a:", 1.0),
        ("{}:main", "a:main", 1.0),
    ],
)
def test_adapters(given: str, directory: str, weight: float, build_calls: list[dict[str, Any]], tmp_path: Path) -> None:
    """A weight is a number behind the last colon, unless that belongs to the name of a directory that is there."""
    for name in ("a", "a:v2", "a:2"):
        (tmp_path / name).mkdir()
    lora = given.format(tmp_path / "a")
    assert f2edge("compile", "some/model", "-o", tmp_path / "b", "--lora", lora, "--lora", "other:3").code == 0
    first, second = build_calls[0]["options"].lora
    assert (first.directory, first.weight) == (tmp_path / directory, weight)
    assert (str(second.directory), second.weight) == ("other", 3.0)


@pytest.mark.parametrize("given", [":0.5", "a:nan", "a:inf"])
def test_weights_of_adapters_that_are_no_numbers(given: str, tmp_path: Path) -> None:
    """They are faults of usage."""
    outcome = f2edge("compile", "some/model", "-o", tmp_path / "b", "--lora", given)
    assert outcome.code == 2
    assert f"{given!r} is not DIR:WEIGHT with a finite number" in outcome.stderr


def test_an_adapter_that_is_not_there(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """The error names the option, the base and the adapter."""
    adapter = tmp_path / "none"
    outcome = f2edge("compile", tiny_checkpoint, "-o", tmp_path / "b", "--lora", adapter)
    assert outcome.code == 1
    assert outcome.error.startswith(f"f2edge: {tiny_checkpoint}: --lora {adapter}: it is no directory; give the one")


def test_options(build_calls: list[dict[str, Any]], tmp_path: Path) -> None:
    """All options of the command line reach the build."""
    options = (
        "--target",
        "onnx",
        "--precision",
        "fp16",
        "--image-size",
        128,
        "--max-new-tokens",
        9,
        "--force",
    )
    assert f2edge("compile", "some/model", "-o", tmp_path / "x" / ".." / "b", *options).code == 0
    call = build_calls[0]
    assert (call["checkpoint"], call["destination"], call["force"]) == ("some/model", tmp_path / "b", True)
    chosen = call["options"]
    assert (chosen.target.name, chosen.precision) == ("onnx", "fp16")
    assert (chosen.image_size, chosen.max_new_tokens) == (128, 9)


def test_defaults(build_calls: list[dict[str, Any]], tmp_path: Path) -> None:
    """By default: target cpu, the target's precision, the checkpoint's sizes, and no bundle is replaced."""
    f2edge("compile", "some/model", "-o", tmp_path / "b")
    options = build_calls[0]["options"]
    assert (options.target.name, options.precision, options.image_size) == ("cpu", None, None)
    assert (options.max_new_tokens, options.num_beams, build_calls[0]["force"]) == (None, None, False)


def test_a_target_of_fixed_shapes(build_calls: list[dict[str, Any]], tmp_path: Path) -> None:
    """A target with fixed shapes passes the maximum number of beams on; the NPU and the iGPU are both targets."""
    assert f2edge("compile", "some/model", "-o", tmp_path / "b", "--target", "npu", "--num-beams", 5).code == 0
    assert f2edge("compile", "some/model", "-o", tmp_path / "b", "--target", "igpu").code == 0
    npu, igpu = (call["options"] for call in build_calls)
    assert (npu.target.static, npu.num_beams) == (True, 5)
    assert (igpu.target.name, igpu.target.static) == ("igpu", False)


@pytest.mark.usefixtures("build_calls")
def test_output(tiny_bundle: Path, tmp_path: Path) -> None:
    """The output says where the bundle is, how large it is, and what was verified."""
    outcome = f2edge("compile", "some/model", "-o", tmp_path / "b")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(
        f"bundle  {tiny_bundle}\nsize    {open_bundle(tiny_bundle).size_bytes / 2**20:.1f} MiB\n"
    )
    assert all(words in outcome.stdout for words in ("weights.bin", "relative error", "25 of 25"))


@pytest.mark.usefixtures("build_calls")
def test_json(tiny_bundle: Path, tmp_path: Path) -> None:
    """With --json, the output is a summary of the manifest in one line."""
    outcome = f2edge("compile", "some/model", "-o", tmp_path / "b", "--json")
    assert outcome.stdout.count("\n") == 1
    summary, bundle = outcome.json, open_bundle(tiny_bundle)
    assert list(summary) == ["path", "size_bytes", "recipe", "components", "verified", "quantization"]
    assert (summary["path"], summary["size_bytes"]) == (str(tiny_bundle), bundle.size_bytes)
    assert summary["recipe"]["target"] == "cpu"
    assert {name: c["precision"] for name, c in summary["components"].items()} == bundle.recipe.precision
    assert 0 < sum(c["size_bytes"] for c in summary["components"].values()) < bundle.size_bytes
    assert summary["verified"]["passed"]


def test_a_bundle_is_no_checkpoint(tiny_bundle: Path, tmp_path: Path) -> None:
    """A bundle given in place of a checkpoint is refused, and the error says that it is a bundle."""
    line = f2edge("compile", tiny_bundle, "-o", tmp_path / "b").error
    assert f"{tiny_bundle} is a bundle" in line


@pytest.mark.parametrize(
    "options",
    [
        *(["--precision", "int8", "--target", name] for name, row in TARGETS.items() if not row.dynamic_int8),
        ["--precision", "auto"],
        ["--precision", "int8", "--report"],
        ["--calibration", "pictures"],
    ],
    ids=" ".join,
)
def test_what_calibration_goes_with(options: list[str], tmp_path: Path) -> None:
    """Where INT8 needs pictures, or pictures are of no use, one line says so before anything is loaded."""
    line = f2edge("compile", "c", "-o", tmp_path / "b", *options).error
    assert "--calibration" in line or "npu; use fp16 or fp32" in line


@pytest.mark.usefixtures("exported")
def test_int8_without_pictures(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """One line says that pictures make it faster; ``inspect`` says that it is not calibrated."""
    made = f2edge("compile", tiny_checkpoint, "-o", tmp_path / "b", "--precision", "int8", "--target", "onnx")
    assert made.stderr.count("--calibration") == 1
    assert "without calibration" in f2edge("inspect", tmp_path / "b").stdout


def test_calibration_pictures_that_are_not_there(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A missing folder of calibration pictures is refused before the export, which takes minutes."""
    options = ["--precision", "int8", "--calibration", tmp_path / "nowhere"]
    assert "nowhere is not there" in f2edge("compile", tiny_checkpoint, "-o", tmp_path / "b", *options).error
    assert not list(tmp_path.iterdir())


def test_compute_capabilities_are_for_rtx(tmp_path: Path) -> None:
    """--compute-capability is refused for targets other than rtx, where it would have no effect."""
    line = f2edge("compile", "c", "-o", tmp_path / "b", "--target", "jetson", "--compute-capability", "87").error
    assert "--compute-capability goes with --target rtx" in line


def test_missing_tensorrt_rtx(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A missing tensorrt_rtx package is reported before the export, which takes minutes."""
    first = "import sys; sys.modules['tensorrt_rtx'] = None"
    options = ["compile", tiny_checkpoint, "-o", tmp_path / "b", "--target", "rtx"]
    assert (
        "tensorrt_rtx is not installed; run: pip install 'f2edge[rtx]'" in f2edge_process(*options, first=first).error
    )


@pytest.mark.parametrize("package", ["torch", "onnxscript"])
def test_missing_package(package: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """If a package of the build side is missing, the error names the extra to install."""
    first = f"import sys; sys.modules[{package!r}] = None"
    outcome = f2edge_process("compile", tiny_checkpoint, "-o", tmp_path / "b", first=first)
    assert outcome.error == f"f2edge: {package} is not installed; run: pip install 'f2edge[compile]'"


@pytest.fixture
def broken(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny checkpoint, which a test may damage."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


def refused(checkpoint: Path, *options: object) -> str:
    """Compile a checkpoint that must be refused; return the error and check that no file is left beside it."""
    before = sorted(checkpoint.parent.iterdir())
    line = f2edge("compile", checkpoint, "-o", checkpoint.parent / "bundle", *options).error
    assert sorted(checkpoint.parent.iterdir()) == before
    return line


def test_missing_tensor(broken: Path) -> None:
    """The error names the tensor that is missing."""
    tensors = load_file(broken / "model.safetensors")
    del tensors["language_model.model.decoder.layers.1.fc2.weight"]
    save_file(tensors, broken / "model.safetensors")
    assert "missing: language_model.model.decoder.layers.1.fc2.weight" in refused(broken)


def test_wrong_config(broken: Path) -> None:
    """A config that contradicts the tensors, or is not valid JSON, is refused."""
    config = json.loads((broken / "config.json").read_text())
    config["text_config"]["d_model"] = 768
    (broken / "config.json").write_text(json.dumps(config))
    assert "d_model is 768, the tensors say 64" in refused(broken)
    (broken / "config.json").write_text("{")
    assert "config.json" in refused(broken)


def test_bad_sizes_and_places(broken: Path, tiny_bundle: Path) -> None:
    """A bad image size, a bad limit, a missing checkpoint and an occupied destination are each refused."""
    assert "multiples of 32" in refused(broken, "--image-size", 100)
    assert "takes 1 to 80" in refused(broken, "--max-new-tokens", 81)
    assert "is not a directory" in refused(broken / "nowhere")
    assert "--force replaces it" in f2edge("compile", broken, "-o", tiny_bundle).error
    assert "is not empty and is not a bundle" in f2edge("compile", broken, "-o", broken).error


LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
"""


def test_full_disk(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A file that cannot be written is reported in one line, and nothing is left behind."""
    pytest.importorskip("resource")
    outcome = f2edge_process("compile", tiny_checkpoint, "-o", tmp_path / "b", first=LIMIT)
    assert "File too large" in outcome.error
    assert list(tmp_path.iterdir()) == []


def compiling(checkpoint: Path, bundle: Path) -> subprocess.Popen[str]:
    """Start a compilation and return its process once it has begun to write the bundle."""
    process = start("compile", checkpoint, "-o", bundle)
    partial, deadline = bundle.parent / f".b.partial-{process.pid}", time.monotonic() + 120
    while not partial.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_killed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """SIGTERM leaves no file behind; the next compilation reuses or removes the files that SIGKILL left."""
    with compiling(tiny_checkpoint, tmp_path / "b") as process:
        process.kill()
    assert {path.name for path in tmp_path.iterdir()} <= {f".b.{kind}-{process.pid}" for kind in ("partial", "stages")}
    with compiling(tiny_checkpoint, tmp_path / "b") as process:
        own, deadline = {f".b.{kind}-{process.pid}" for kind in ("partial", "stages")}, time.monotonic() + 120
        while not {path.name for path in tmp_path.iterdir()} <= own:  # it takes over old stages after it has begun
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert finish(process) == Outcome(128 + signal.SIGTERM, "", "")
    assert list(tmp_path.iterdir()) == []
