"""Fixtures that all rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from f2edge.compile.build import build
from f2edge.compile.options import Options
from f2edge.targets import TARGETS
from tests.support.checkpoints import write_checkpoint

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The folder of oracles made with Microsoft's and transformers' own code; not part of the repository."""
    path = Path(os.environ.get("F2EDGE_FIXTURES", ROOT.parent / "shared" / "fixtures"))
    if not path.is_dir():
        pytest.skip(f"the oracle files are not at {path}; set F2EDGE_FIXTURES")
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint in Microsoft's layout, a second's work to export."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny"
    write_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint compiled for the CPU in fp32.  Tests that change it must copy it first."""
    return _compile(tiny_checkpoint, tmp_path_factory, "cpu")


@pytest.fixture(scope="session")
def tiny_onnx_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for ONNX Runtime."""
    return _compile(tiny_checkpoint, tmp_path_factory, "onnx")


@pytest.fixture(scope="session")
def tiny_npu_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all shapes fixed, for up to 8 beams."""
    return _compile(tiny_checkpoint, tmp_path_factory, "npu", num_beams=8)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The user's cache stays as it is; processes that a test starts take this one, too."""
    os.environ["F2EDGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def tiny_jetson_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for TensorRT: graphs, of which a device makes its engines."""
    return _compile(tiny_checkpoint, tmp_path_factory, "jetson")


def _compile(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, target: str, num_beams: int | None = None
) -> Path:
    path = tmp_path_factory.mktemp("bundle") / f"tiny.{target}"
    build(checkpoint, path, Options(TARGETS[target], "fp32", num_beams=num_beams))
    return path
