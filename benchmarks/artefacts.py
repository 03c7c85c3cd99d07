"""What the contenders run: random checkpoints compiled each in its way, kept under ``build/bench``.

An artefact's directory is named after what made it (sizes, sources, versions of tools), so a rerun compiles only what
has changed.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from workload import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workload import Workload

CACHE = ROOT / "build" / "bench"
BUNDLES = ("cpu-fp32", "cpu-fp16", "cpu-int8", "onnx-fp32", "onnx-int8")
_COMPILER = ("compile", "quantize", "calibration", "f2edge/bundle.py", "f2edge/geometry.py", "f2edge/targets.py")
_PACKAGES = ("openvino", "onnxruntime", "onnx", "nncf", "torch", "transformers", "ctranslate2")
_RECIPES = {
    "photographs": (),
    "checkpoint": ("tests/support/checkpoints.py", "tests/support/geometries.py"),
    "notebook": ("benchmarks/notebook_conversion.py", "tests/support/native.py", "tests/support/geometries.py"),
    "ctranslate2": ("benchmarks/ctranslate2_decoder.py", "tests/support/geometries.py"),
}


@dataclass(frozen=True)
class Cache:
    """Artefacts of one workload, made when they are first asked for.

    Args:
        workload: whose model they hold.
        directory: where they are kept.
    """

    workload: Workload
    directory: Path = CACHE

    def path(self, name: str) -> Path:
        """Where the artefact ``name`` is, or will be: its key tells sources, sizes and tools."""
        digest = hashlib.sha256(repr((self.workload.geometry, [version(p) for p in _PACKAGES])).encode())
        for file in _sources(_RECIPES.get(name, _COMPILER)):
            digest.update(file.read_bytes())
        return self.directory / f"{self.workload.name}.{name}.{digest.hexdigest()[:12]}"

    def get(self, name: str) -> Path:
        """The artefact ``name``, made now if it is not there; what it replaces is removed.

        Names: "photographs", "checkpoint", "notebook", "ctranslate2", and bundles as TARGET-PRECISION[-IMAGE SIZE].

        Raises:
            RuntimeError: it cannot be made.
        """
        path = self.path(name)
        if not path.exists():
            print(f"preparing {path.name}", file=sys.stderr, flush=True)
            self.directory.mkdir(parents=True, exist_ok=True)
            for old in self.directory.glob(f"{self.workload.name}.{name}.*"):
                shutil.rmtree(old)
            partial = path.with_name(f"{path.name}.partial")
            self._make(name, partial)
            partial.replace(path)
        return path

    def _make(self, name: str, path: Path) -> None:
        makers: dict[str, Callable[[Path, Workload], None]] = {
            "photographs": write_photographs,
            "checkpoint": write_random_checkpoint,
            "notebook": _write_notebook,
            "ctranslate2": _write_ctranslate2,
        }
        if name in makers:
            _in_own_process(makers[name], path, self.workload)
        else:
            self._compile(name, path)

    def _compile(self, name: str, path: Path) -> None:
        command = [sys.executable, "-m", "f2edge", *compile_arguments(name, self, path, self.get("photographs"))]
        ended = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
        if ended.returncode:
            raise RuntimeError(ended.stderr.strip().splitlines()[-1])


def compile_arguments(name: str, cache: Cache, path: Path, pictures: Path) -> list[str]:
    """Of ``f2edge`` to compile the bundle ``name`` (TARGET-PRECISION[-IMAGE SIZE]), INT8 calibrated on ``pictures``."""
    target, precision, *size = name.split("-")
    arguments = ["compile", str(cache.get("checkpoint")), "-o", str(path), "--target", target, "--precision", precision]
    if precision == "int8":
        arguments += ["--calibration", str(pictures)]
    return arguments + (["--image-size", *size] if size else [])


def _sources(places: Iterable[str]) -> list[Path]:
    """Python files, or those in a directory, in a fixed order."""
    found = [ROOT / place for place in places]
    return [file for place in found for file in (sorted(place.rglob("*.py")) if place.is_dir() else [place])]


def _in_own_process(make: Callable[[Path, Workload], None], path: Path, workload: Workload) -> None:
    """So that what torch takes of memory is given back, and counts towards nobody's peak."""
    process = multiprocessing.get_context("spawn").Process(target=make, args=(path, workload))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"making {path.name} failed")


def write_photographs(path: Path, _workload: Workload) -> None:
    """The two photographs that come with scikit-learn, as JPEG: to ask about, and to calibrate random weights on."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    path.mkdir()
    samples = load_sample_images()
    for name, picture in zip(samples.filenames, samples.images, strict=True):
        Image.fromarray(picture).save(path / Path(name).name, quality=95)


def write_crops(path: Path, count: int) -> None:
    """So many crops of the two photographs: something to calibrate on in earnest."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    path.mkdir()
    rng, photographs = np.random.default_rng(0), load_sample_images().images
    for number in range(count):
        picture = photographs[number % len(photographs)]
        height, width = rng.integers(160, picture.shape[:2])
        top, left = rng.integers(0, np.subtract(picture.shape[:2], (height, width)) + 1)
        crop = picture[top : top + height, left : left + width]
        Image.fromarray(crop).save(path / f"{number:03}.jpg", quality=92)


def write_random_checkpoint(path: Path, workload: Workload) -> None:
    """A checkpoint in Microsoft's layout, fp16 on disk.  Weights are random: the official ones are not ours to give."""
    import torch

    from tests.support.checkpoints import initialise, write_checkpoint

    write_checkpoint(path, geometry=workload.geometry, dtype=torch.float16, fill=initialise)


def _write_notebook(path: Path, workload: Workload) -> None:
    warnings.simplefilter("ignore")  # tracing remarks on every branch
    from notebook_conversion import convert

    convert(path, workload.geometry)


def _write_ctranslate2(path: Path, workload: Workload) -> None:
    from ctranslate2_decoder import convert

    convert(path, workload.geometry)
