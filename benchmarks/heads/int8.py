"""Score trained heads over the compiled backbone: in fp32, and in INT8 that was calibrated on pictures of the training.

    PYTHONPATH=demo python benchmarks/heads/int8.py build/heads/detector-pretrained-trained-0.001-500-0.json

The tower that was trained becomes part of a checkpoint, whose weights are stored in fp16, and is compiled from there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from model import write_checkpoint
from PIL import Image
from safetensors.torch import load_file
from study import CHECKPOINT, TEST_SEED, TRAINING_SEED, loaded, read_or_draw
from tasks import TASKS
from training import new_backbone

import f2edge
from f2edge.compile.build import build
from f2edge.compile.checkpoint.load import load_checkpoint
from f2edge.compile.options import Options
from f2edge.compile.reference.backbone import Maps
from f2edge.targets import get_target

if TYPE_CHECKING:
    from pictures import Pictures

CALIBRATED_ON = 128


class Compiled(torch.nn.Module):
    """A backbone bundle in the place of the module that was trained."""

    def __init__(self, bundle: Path) -> None:
        super().__init__()
        self.backbone = f2edge.load_backbone(bundle)

    def forward(self, pixels: torch.Tensor, **_: Any) -> Maps:
        """Compute the maps of pixels (B, 3, H, W), one picture after the other."""
        return Maps(feature_maps=tuple(map(torch.from_numpy, self.backbone.maps(pixels.numpy()).values())))

    forward_with_filtered_kwargs = forward


def measure(run: Path, target: str, folder: Path, workers: int) -> dict[str, Any]:
    """Return the scores of a trained model in PyTorch, and over compiled backbones in fp32 and INT8."""
    settings = json.loads(run.read_text())
    task = TASKS[settings["task"]]
    model = task.head(new_backbone(CHECKPOINT, "pretrained", 0))
    model.load_state_dict(load_file(run.with_suffix(".safetensors")))
    model.eval()
    test = loaded(read_or_draw(folder, "test", TEST_SEED, 500, workers))
    scores = {"torch": task.score(model, test, "cpu")}
    calibration = folder / "calibration"
    write_pictures(loaded(read_or_draw(folder, "train", TRAINING_SEED, CALIBRATED_ON, workers)), calibration)
    checkpoint = trained_checkpoint(model, folder / "checkpoint")
    for precision in ("fp32", "int8"):
        bundle = folder / f"{run.stem}.{precision}"
        pictures = calibration if precision == "int8" else None
        build(checkpoint, bundle, Options(get_target(target), precision, graph="backbone", calibration=pictures))
        model.use(Compiled(bundle))
        scores[precision] = task.score(model, test, "cpu")
    return {"run": run.stem, "target": target, "scores": scores}


def trained_checkpoint(model: torch.nn.Module, folder: Path) -> Path:
    """Write the checkpoint with the tower of a trained model in place of its own; return its folder."""
    reference = load_checkpoint(CHECKPOINT).model
    prefix = "vision_tower."
    tower = {name.split(prefix, 1)[1]: value for name, value in model.state_dict().items() if prefix in name}
    reference.vision_tower.load_state_dict(tower)
    write_checkpoint(reference, folder)
    return folder


def write_pictures(pictures: Pictures, folder: Path) -> None:
    """Write pictures as PNG files."""
    folder.mkdir(exist_ok=True)
    for number, pixels in enumerate(pictures.pixels):
        Image.fromarray(pixels).save(folder / f"{number:03}.png")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="NAME.json of study.py, with NAME.safetensors beside it")
    parser.add_argument("--target", default="cpu", choices=["cpu", "onnx"], help="what to compile for (cpu)")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw the pictures (2)")
    arguments = parser.parse_args()
    for run in arguments.runs:
        with tempfile.TemporaryDirectory() as scratch:
            print(json.dumps(measure(run, arguments.target, Path(scratch), arguments.workers)), flush=True)


if __name__ == "__main__":
    main()
