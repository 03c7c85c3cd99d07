"""The models and pictures that the contenders run, prepared once and kept under ``build/bench``.

The name of an artefact's directory ends in a hash of everything that makes the artefact: the model's sizes, the
versions of the tools, f2edge's own code and the recipe's files.  A rerun therefore prepares exactly what has changed.
"""

from __future__ import annotations

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

from f2edge.bundle.manifest import sha256
from f2edge.bundle.user_cache import digest
from f2edge.compile.stages import code_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from workload import Workload

CACHE = ROOT / "build" / "bench"
_UNCALIBRATED = "uncalibrated"
"""INT8 that no pictures were needed for, where names of bundles have their precision."""
BUNDLES = (
    *("cpu-fp32", "cpu-fp16", "cpu-bf16", "cpu-int8", f"cpu-{_UNCALIBRATED}"),
    *("onnx-fp32", "onnx-fp16", "onnx-int8", f"onnx-{_UNCALIBRATED}"),
)
_PACKAGES = (
    *("openvino", "onnxruntime", "onnx", "onnxscript", "nncf", "torch", "transformers", "ctranslate2"),
    *("numpy", "pillow", "safetensors", "scikit-learn", "tokenizers"),
)
_OWN = ("benchmarks/artefacts.py", "benchmarks/workload.py")
_HELPERS = "tests/support"
"""Directory of the helpers that write random checkpoints and define the published sizes."""
_RECIPES: dict[str, tuple[str, ...]] = {
    "photographs": (),
    "checkpoint": (_HELPERS,),
    "notebook": (_HELPERS, "benchmarks/notebook_conversion.py"),
    "ctranslate2": (_HELPERS, "benchmarks/ctranslate2_decoder.py"),
}
"""Files, or directories of files, that make an artefact, beside f2edge and this module."""
_BUNDLE_INPUTS = ("checkpoint", "photographs")
"""Artefacts that a bundle is compiled from."""


@dataclass(frozen=True)
class Cache:
    """Artefacts of one workload, made when they are first asked for.

    Args:
        workload: the workload whose model they hold.
        directory: where they are kept.
    """

    workload: Workload
    directory: Path = CACHE

    def path(self, name: str) -> Path:
        """Return the path of the artefact ``name``, whether or not it exists yet."""
        return self.directory / f"{self.workload.name}.{name}.{self._key(name)[:12]}"

    def _key(self, name: str) -> str:
        """Hash everything that makes an artefact; a bundle's key contains the keys of what it is compiled from."""
        files = _python_files((*_OWN, *_RECIPES.get(name, ())))
        parts = {
            "geometry": self.workload.geometry.to_json(),
            "versions": [version(package) for package in _PACKAGES],
            "code": code_digest(),
            "files": {file.relative_to(ROOT).as_posix(): sha256(file) for file in files},
            "inputs": [] if name in _RECIPES else [self._key(each) for each in _BUNDLE_INPUTS],
        }
        return digest(parts)

    def get(self, name: str) -> Path:
        """Return the artefact ``name``; make it first if it does not exist, and remove the one that it replaces.

        Args:
            name: "photographs", "checkpoint", "notebook" or "ctranslate2", or a bundle: TARGET-PRECISION[-IMAGE SIZE].

        Raises:
            RuntimeError: the artefact cannot be made.
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
    """Return the arguments of ``f2edge`` that compile the bundle ``name``.

    Args:
        name: TARGET-PRECISION[-IMAGE SIZE].
        cache: the cache that holds the checkpoint.
        path: where the bundle is written.
        pictures: the directory of images that INT8 is calibrated on.
    """
    target, kind, *size = name.split("-")
    precision = "int8" if kind == _UNCALIBRATED else kind
    arguments = ["compile", str(cache.get("checkpoint")), "-o", str(path), "--target", target, "--precision", precision]
    if kind == "int8":
        arguments += ["--calibration", str(pictures)]
    return arguments + (["--image-size", *size] if size else [])


def _python_files(places: Iterable[str]) -> list[Path]:
    """Return the files named, and the Python files directly in the directories named, in a fixed order."""
    paths = [ROOT / place for place in places]
    return [file for path in paths for file in (sorted(path.glob("*.py")) if path.is_dir() else [path])]


def _in_own_process(make: Callable[[Path, Workload], None], path: Path, workload: Workload) -> None:
    """Run ``make`` in a process that ends, so that torch's memory is freed and does not count towards any peak."""
    process = multiprocessing.get_context("spawn").Process(target=make, args=(path, workload))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"making {path.name} failed")


def write_photographs(path: Path, _workload: Workload) -> None:
    """Write scikit-learn's two sample photographs as JPEG: input of every contender, calibration data of INT8."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    path.mkdir()
    samples = load_sample_images()
    for name, picture in zip(samples.filenames, samples.images, strict=True):
        Image.fromarray(picture).save(path / Path(name).name, quality=95)


def write_crops(path: Path, count: int) -> None:
    """Write ``count`` random crops of the two photographs: a calibration set of realistic size."""
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
    """Write a checkpoint in Microsoft's layout with random weights in fp16.

    The official weights may not be redistributed, and latency does not depend on the values of the weights.
    """
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
