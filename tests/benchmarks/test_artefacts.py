"""Compiled models of the benchmarks are made anew exactly if something that they depend on has changed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from artefacts import BUNDLES, Cache
from workload import ROOT, WORKLOADS

from f2edge.compile.stages import code_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOMS = ("f2edge", "compile", "quantize", "runtimes", "calibration")
CHECKPOINT = (
    "tests/support/checkpoints.py",
    "tests/support/geometries.py",
    "benchmarks/artefacts.py",
    "benchmarks/workload.py",
)
CACHE = Cache(WORKLOADS["tiny"])


@pytest.fixture(autouse=True)
def _hash_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the code's hash before and after a test that simulates a change; skip the slow look-up of versions."""
    monkeypatch.setattr("artefacts.version", lambda _package: "1")
    code_digest.cache_clear()
    yield
    code_digest.cache_clear()


def key_after_editing(changed: Path, artefact: str) -> str:
    """Return an artefact's name as it would be if the file ``changed`` had one more line."""
    whole = Path.open

    def edited(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if path != changed:
            return whole(path, mode, *arguments, **options)
        with whole(path, "rb") as file:
            return io.BytesIO(file.read() + b"# one more line\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", edited)
        code_digest.cache_clear()
        return CACHE.path(artefact).name


def test_any_change_of_the_package_makes_bundles_anew() -> None:
    """A bundle's golden answers depend on all code, from the tokenizer to the compiler."""
    files = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    assert {ROOT / "f2edge" / "image.py", ROOT / "compile" / "build.py"} <= set(files)
    name = CACHE.path("cpu-int8").name
    assert [file for file in files if key_after_editing(file, "cpu-int8") == name] == []


@pytest.mark.parametrize("file", CHECKPOINT)
def test_a_changed_recipe_of_the_checkpoint_makes_it_and_all_bundles_anew(file: str) -> None:
    """A change of the checkpoint also changes the names of all bundles compiled from it."""
    for artefact in ("checkpoint", *BUNDLES):
        assert key_after_editing(ROOT / file, artefact) != CACHE.path(artefact).name, artefact


@pytest.mark.parametrize(
    ("artefact", "file"), [("notebook", "notebook_conversion.py"), ("ctranslate2", "ctranslate2_decoder.py")]
)
def test_a_peer_depends_on_its_own_conversion(artefact: str, file: str) -> None:
    """A change of one peer's conversion leaves bundles as they are."""
    changed = ROOT / "benchmarks" / file
    assert key_after_editing(changed, artefact) != CACHE.path(artefact).name
    code_digest.cache_clear()
    assert key_after_editing(changed, "cpu-int8") == CACHE.path("cpu-int8").name


def test_a_changed_tool_or_size_makes_everything_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """An artefact's hash differs between two workloads and between two versions of the tools."""
    name = CACHE.path("cpu-fp32").name
    assert Cache(WORKLOADS["base"]).path("cpu-fp32").name.split(".")[-1] != name.split(".")[-1]
    monkeypatch.setattr("artefacts.version", lambda _package: "2")
    assert CACHE.path("cpu-fp32").name != name
