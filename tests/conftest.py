"""Fixtures that the tests of all rooms share."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock

from f2edge.bundle.manifest import COMPONENTS
from f2edge.compile import steps
from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.targets import TARGETS
from tests.support import oracles
from tests.support.checkpoints import copying, write_checkpoint
from tests.support.pictures import write_pictures

if TYPE_CHECKING:
    from pathlib import Path

INT8_SAMPLES = 6
"""Pictures that the tiny checkpoint is calibrated on."""


class _NoTransformers(MetaPathFinder):
    """Skips the test modules that import transformers: the version that is compared with has none for Python 3.10."""

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        """Skip the module whose import of transformers no other finder could answer."""
        if fullname == "transformers":
            pytest.skip("transformers 5.23 needs Python 3.11", allow_module_level=True)


if sys.version_info < (3, 11):
    sys.meta_path.append(_NoTransformers())


COLLECTIONS = (20_000, 20, 20)
"""Thresholds of Python's garbage collector: with the usual ones it takes a quarter of the time of an export."""


def pytest_configure() -> None:
    """Give each process of pytest-xdist a core of its own, and let it collect garbage less often.

    The engines then compute on one thread; threads that wait for a core that another process has cost a quarter more.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {mine[int(worker.removeprefix("gw")) % len(mine)]})
    gc.freeze()  # what is imported stays
    gc.set_threshold(*COLLECTIONS)


LONGEST = ("test_parity.py", "test_mixed_precision.py")
"""Files whose tests take minutes: they begin first, so that no process is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first, and skip those that lack Microsoft's tiny checkpoints; each skip names its test."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    if not oracles.has_checkpoints():
        for item in items:
            if "checkpoints_dir" in getattr(item, "fixturenames", ()):
                name = getattr(item, "originalname", item.name)
                reason = f"{name}: no ms_tiny in {oracles.CHECKPOINTS}; F2EDGE_FIXTURES names the folder that has it"
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def oracles_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the files of tests/oracles, decompressed; they are part of the repository."""
    path = tmp_path_factory.mktemp("oracles")
    oracles.unpack(path)
    return path


@pytest.fixture(scope="session")
def checkpoints_dir() -> Path:
    """Return the folder of Microsoft's tiny checkpoints and their arrays; it is not part of the repository."""
    return oracles.CHECKPOINTS


@pytest.fixture(scope="session")
def oracle_answers(oracles_dir: Path, checkpoints_dir: Path) -> dict[str, Any]:
    """Return what Microsoft's code computed for the tiny checkpoints: cases, batches and arrays."""
    answers: dict[str, Any] = oracles.load(oracles_dir / "expected.json")
    return {**oracles.load(checkpoints_dir / "expected.npz"), **answers}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a random checkpoint in Microsoft's layout that exports within a second."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of stages for the compilations of all tests: exporting graphs takes most of their time.

    The processes of pytest-xdist share it.
    """
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "stages"


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny checkpoint compiled for the CPU in fp32; a test that changes it copies it first."""
    return _compile(tiny_checkpoint, stages, tmp_path_factory, "cpu")


@pytest.fixture(scope="session")
def tiny_onnx_bundle(tiny_checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny checkpoint compiled for ONNX Runtime in fp32."""
    return _compile(tiny_checkpoint, stages, tmp_path_factory, "onnx")


@pytest.fixture(scope="session")
def tiny_backbone(tiny_checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny checkpoint's tower compiled for the CPU in fp32, as a backbone of all levels."""
    return _compile(tiny_checkpoint, stages, tmp_path_factory, "cpu", graph="backbone")


@pytest.fixture(scope="session")
def tiny_onnx_backbone(tiny_checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same for ONNX Runtime."""
    return _compile(tiny_checkpoint, stages, tmp_path_factory, "onnx", graph="backbone")


@pytest.fixture
def exported(tiny_jetson_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the tiny checkpoint's graphs from a bundle that holds them as they are instead of exporting them again."""
    monkeypatch.setattr(steps, "export", copying(tiny_jetson_bundle))


@pytest.fixture(scope="session")
def tiny_npu_bundle(tiny_checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny checkpoint compiled with fixed shapes in fp32, for up to 8 beams."""
    return _compile(tiny_checkpoint, stages, tmp_path_factory, "npu", num_beams=8)


@pytest.fixture(scope="session")
def tiny_int8(tiny_checkpoint: Path, tiny_jetson_bundle: Path, stages: Path) -> Path:
    """Return a directory with the tiny checkpoint in INT8 for ONNX Runtime, ``bundle``, and its finished ``stages``.

    It is calibrated on a few noisy pictures.  The processes of pytest-xdist share it.
    """
    path = stages.parent / "int8"
    with FileLock(stages.parent / "int8.lock"), pytest.MonkeyPatch.context() as patch:
        if not (path / "bundle").is_dir():
            path.mkdir()
            write_pictures(path / "pictures", INT8_SAMPLES)
            patch.setattr(steps, "export", copying(tiny_jetson_bundle))
            calibration = {"calibration": path / "pictures", "samples": INT8_SAMPLES}
            build(
                tiny_checkpoint,
                path / "bundle",
                Options(TARGETS["onnx"], "int8", stages=path / "stages", **calibration),
            )
    return path


@pytest.fixture(scope="session")
def tiny_npu_int8(tiny_checkpoint: Path, tiny_int8: Path) -> Path:
    """Return a directory with the same INT8 in fixed shapes for up to 8 beams, ``bundle``, and the ``stages`` of both.

    A dynamic decoder for calibration is among the stages; only the one of fixed shapes is exported.
    """
    path = tiny_int8 / "npu"
    calibration = {"calibration": tiny_int8 / "pictures", "samples": INT8_SAMPLES}
    with FileLock(tiny_int8 / "npu.lock"):
        if not (path / "bundle").is_dir():
            shutil.copytree(tiny_int8 / "stages", path / "stages")
            options = Options(TARGETS["npu"], "int8", stages=path / "stages", num_beams=8, **calibration)
            build(tiny_checkpoint, path / "bundle", options)
    return path


@pytest.fixture(scope="session")
def tiny_quantized(tiny_int8: Path) -> dict[str, Path]:
    """Return the tiny checkpoint's INT8 graphs by component, with Q/DQ nodes, as all engines get them."""
    return {name: next(tiny_int8.glob(f"stages/quantize-{name}-*/{name}.onnx")) for name in COMPONENTS}


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give the tests, and the processes that they start, a cache of their own instead of the user's."""
    os.environ["F2EDGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_jetson_bundle(tiny_checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny checkpoint compiled for TensorRT in fp32: graphs from which a device builds its engines."""
    return _compile(tiny_checkpoint, stages, tmp_path_factory, "jetson")


def _compile(
    checkpoint: Path, stages: Path, tmp_path_factory: pytest.TempPathFactory, target: str, **options: Any
) -> Path:
    path = tmp_path_factory.mktemp("bundle") / f"tiny.{target}"
    stages.mkdir(exist_ok=True)
    shapes = "fixed" if TARGETS[target].static else "dynamic"
    with FileLock(stages / f"{shapes}.lock"):  # another process that needs the same graphs waits for them
        build(checkpoint, path, Options(TARGETS[target], "fp32", stages=stages, **options))
    return path
