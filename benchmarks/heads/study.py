"""What pretraining is worth: a detector and a segmenter over a backbone, pretrained or from scratch, frozen or not.

    PYTHONPATH=demo python benchmarks/heads/study.py --keep build/heads --output heads.json --figure heads.png
    PYTHONPATH=demo python benchmarks/heads/study.py --keep build/heads --device cuda --seeds 3 --processes 8

Every training is a file in the folder of ``--keep``, so that the command goes on where it was stopped.  The pictures
are drawn: docs/backbone.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from pictures import Pictures, draw
from safetensors.torch import save_file
from tasks import TASKS
from training import Training, train

from f2edge.bundle.writing import whole_file
from f2edge.machine import fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKPOINT = Path(__file__).parents[2] / "demo" / "checkpoint"
STARTS, WAYS = ("pretrained", "scratch"), ("trained", "frozen")
TRAINING_SEED, TEST_SEED = 31, 9300
"""Collections of scenes that the checkpoint was neither trained nor measured on."""


def trainings(arguments: argparse.Namespace) -> list[Training]:
    """Return all trainings of the study; a frozen tower has one rate only, which does not matter."""
    found = []
    for seed, task, start in product(range(arguments.seeds), TASKS, arguments.starts):
        frozen = Training(task, start, frozen=True, steps=arguments.steps, seed=seed)
        if "trained" in arguments.ways:
            found += [replace(frozen, frozen=False, tower_rate=rate) for rate in arguments.rates]
        if "frozen" in arguments.ways:
            found.append(frozen)
    return found


def read_or_draw(folder: Path, name: str, seed: int, count: int, workers: int) -> Path:
    """Return the file of a collection; draw its pictures if it is not there."""
    path = folder / f"{name}-{seed}-{count}.npz"
    if not path.exists():
        with whole_file(path) as partial, partial.open("wb") as stream:
            np.savez(stream, **draw(seed, count, workers)._asdict())
    return path


def loaded(path: Path) -> Pictures:
    """Read a collection."""
    with np.load(path) as arrays:
        return Pictures(**arrays)


def run(training: Training, folder: Path, pictures: Sequence[Path], device: str, threads: int) -> Path:
    """Train once and write NAME.json and NAME.safetensors, unless they are there; return the former."""
    path = folder / f"{training.name}.json"
    if path.exists():
        return path
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    for report, model in train(training, CHECKPOINT, *map(loaded, pictures), device=device):  # noqa: B007 - the last
        print(f"{time.strftime('%H:%M:%S')} {training.name} {report['curve'][-1]}", file=sys.stderr, flush=True)
    weights = {name: value.contiguous().cpu() for name, value in model.state_dict().items()}
    save_file(weights, path.with_suffix(".safetensors"))
    with whole_file(path) as partial:
        partial.write_text(json.dumps(report))
    return path


def study(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all trainings, some at the same time, and return the report."""
    arguments.keep.mkdir(parents=True, exist_ok=True)
    sets = (("train", TRAINING_SEED, arguments.pictures), ("test", TEST_SEED, arguments.test))
    pictures = [read_or_draw(arguments.keep, *each, arguments.processes) for each in sets]
    started, wanted = time.perf_counter(), trainings(arguments)
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        tasks = [pool.submit(run, one, arguments.keep, pictures, arguments.device, arguments.threads) for one in wanted]
        for task in as_completed(tasks):
            task.result()
    runs = [json.loads((arguments.keep / f"{one.name}.json").read_text()) for one in wanted]
    return {
        "machine": fingerprint(),
        "gpu": torch.cuda.get_device_name() if arguments.device == "cuda" else None,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "pictures": {"training": arguments.pictures, "test": arguments.test},
        "seconds": round(time.perf_counter() - started, 1),
        "processes": arguments.processes,
        "threads": arguments.threads,
        "runs": runs,
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder of pictures and trainings")
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    parser.add_argument("--figure", type=Path, help="draw the curves to this file")
    parser.add_argument("--steps", type=int, default=500, help="batches of a training (500)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each kind (1)")
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=STARTS, help="weights to begin with (both)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, help="what becomes of the tower (both)")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3], help="learning rates of the tower (1e-3)")
    parser.add_argument("--pictures", type=int, default=2000, help="pictures to train on (2000)")
    parser.add_argument("--test", type=int, default=300, help="pictures to measure on (300)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--processes", type=int, default=2, help="trainings at the same time (2)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each (1)")
    arguments = parser.parse_args()
    report = study(arguments)
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if arguments.figure:
        from figure import draw_curves

        draw_curves(report["runs"], arguments.figure)


if __name__ == "__main__":
    main()
