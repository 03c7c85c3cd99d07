"""The command line about backbones: what works, and what is refused in one line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from f2edge.bundle.manifest import open_bundle
from tests.support.command import f2edge

if TYPE_CHECKING:
    from pathlib import Path


def test_compile(tiny_checkpoint: Path, stages: Path, tmp_path: Path) -> None:
    """``--graph backbone --levels`` makes a bundle of these maps, which its manifest describes as timm does."""
    options = ("--graph", "backbone", "--levels", "2,4", "--target", "npu", "--image-size", 64, "--precision", "fp32")
    printed = f2edge("compile", tiny_checkpoint, "-o", tmp_path / "bundle", *options, "--stages", stages, "--json").json
    assert list(printed["components"]) == ["backbone"]
    assert list(printed["verified"]["components"]) == ["c3", "c5"]
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.graph == "backbone"
    assert {path.name for path in bundle.path.iterdir()} == {
        *("backbone.xml", "weights.bin", "golden.npz", "manifest.json")
    }
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["backbone"] == {
        "feature_info": [
            {"name": "c3", "module": "vision_tower.blocks.1", "reduction": 8, "num_chs": 32, "index": 1},
            {"name": "c5", "module": "vision_tower.blocks.3", "reduction": 32, "num_chs": 64, "index": 3},
        ],
        "image_size": [64, 64],
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--levels 1", "--levels goes with --graph backbone"),
        ("--graph backbone --levels 2,5", "--levels: 2, 5: this tower has the stages 1 to 4"),
        ("--graph backbone --levels 3,2", "--levels: 3, 2: stages must ascend"),
        ("--graph backbone --target jetson", "--graph backbone is not there yet for target jetson; use cpu"),
        ("--graph backbone --max-new-tokens 5", "--max-new-tokens is about answers"),
        ("--graph backbone --target npu --num-beams 3", "--num-beams is about answers"),
        ("--graph backbone --image-size 64", "takes pictures of any size; leave it out"),
        ("--graph backbone --precision auto --calibration x", "--precision auto is about answers"),
        ("--graph backbone --precision int8 --report --calibration x", "--report is about answers"),
    ],
)
def test_options_that_do_not_go_together(options: str, message: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """What a backbone has no use for is refused, and nothing is written."""
    (tmp_path / "x").mkdir()
    Image.new("RGB", (40, 40)).save(tmp_path / "x" / "a.png")
    words = [str(tmp_path / "x") if word == "x" else word for word in options.split()]
    assert message in f2edge("compile", tiny_checkpoint, "-o", tmp_path / "bundle", *words).error
    assert not (tmp_path / "bundle").exists()


def test_levels_are_numbers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Anything but numbers is wrong usage."""
    outcome = f2edge("compile", tiny_checkpoint, "-o", tmp_path / "bundle", "--graph", "backbone", "--levels", "c2")
    assert outcome.code == 2
    assert "is no list of stages" in outcome.stderr


def test_inspect(tiny_backbone: Path) -> None:
    """``inspect`` shows sizes, levels and what was verified; as JSON the manifest."""
    shown = f2edge("inspect", tiny_backbone).stdout
    for words in ("any height and width in multiples of 32 pixels", "backbone.xml", "1/16", "match their SHA-256"):
        assert words in shown
    assert "vocabulary" not in shown
    assert json.loads((tiny_backbone / "manifest.json").read_text())["backbone"]["image_size"] is None
    printed = f2edge("inspect", tiny_backbone, "--json").json
    printed.pop("size_bytes")
    assert printed == json.loads((tiny_backbone / "manifest.json").read_text())


def test_verify(tiny_backbone: Path) -> None:
    """``verify`` prints one line for each level, and nothing about answers."""
    outcome = f2edge("verify", tiny_backbone)
    lines = [line.split() for line in outcome.stdout.splitlines()]
    assert (outcome.code, outcome.stderr) == (0, "")
    assert {line[0]: line[-1] for line in lines if line[0].startswith("c")} == dict.fromkeys(
        ("c2", "c3", "c4", "c5"), "yes"
    )
    assert "answer" not in outcome.stdout
    assert f2edge("verify", tiny_backbone, "--json").json["passed"]


def test_bench(tiny_backbone: Path, tmp_path: Path) -> None:
    """``bench`` times the maps of a picture at its own size, and writes the page of a report."""
    Image.new("RGB", (100, 60)).save(tmp_path / "picture.png")
    options = ("--image", tmp_path / "picture.png", "--runs", 3, "--html", tmp_path / "page.html", "--json")
    outcome = f2edge("bench", tiny_backbone, *options)
    report = outcome.json
    assert list(report["samples_ms"]) == ["load", "first_answer", "preprocess", "vision", "total"]
    assert (report["task"], report["image_size"], report["runs"]) == ("features", [64, 96], 3)
    assert all(time > 0 for times in report["samples_ms"].values() for time in times)
    assert report["precision"] == {"backbone": "fp32"}
    assert "features of 64x96 pixels" in outcome.stderr
    assert "features of 64x96 pixels" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    "option",
    ["--task od", "--num-beams 1", "--new-tokens 3", "--scenario offline", "--starts 1", "--against x", "--duration 1"],
)
def test_bench_of_answers(option: str, tiny_backbone: Path) -> None:
    """Options about answers are refused, even with the value that they have by default."""
    assert f"{option.split(maxsplit=1)[0]} is about answers" in f2edge("bench", tiny_backbone, *option.split()).error


@pytest.mark.parametrize(
    "command",
    [
        "run {} x.png --task od",
        "eval {} --data x",
        "calibrate {} --data x",
        "serve {} --port 0",
        "build {}",
    ],
)
def test_a_backbone_answers_nothing(command: str, tiny_backbone: Path) -> None:
    """Commands about answers refuse a backbone."""
    error = f2edge(*command.format(tiny_backbone).split()).error
    assert "gives feature maps; open it with f2edge.load_backbone" in error or "has no engines to build" in error
