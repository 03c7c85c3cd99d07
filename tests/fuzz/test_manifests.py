"""Whatever a manifest holds: the bundle opens and is shown, or both say in one line why not."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2edge.bundle.manifest import open_bundle
from f2edge.bundle.writing import MANIFEST
from f2edge.errors import BundleError
from tests.support.command import f2edge
from tests.support.fuzzing import check_line, contained, damaged_bytes, damaged_json, examples

if TYPE_CHECKING:
    from pathlib import Path

QUANTIZATION = {
    "blocks": [{"component": "vision", "name": "a", "operations": 0.5, "sqnr_db": 30, "divergence": 0.1, "loss": None}],
    "budget": 0.01,
    "mixes": [{"int8_blocks": 1, "compute": "fp32", "milliseconds": 1.5, "loss": 0.0, "chosen": True}],
    "int8": [["vision", "a"]],
}


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tiny bundle, whose manifest the tests replace."""
    return shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("fuzz") / "bundle")


@pytest.fixture(scope="module")
def manifest(tiny_bundle: Path) -> bytes:
    """Return a sound manifest, with measurements of INT8."""
    values = json.loads((tiny_bundle / MANIFEST).read_text())
    return json.dumps({**values, "quantization": QUANTIZATION}).encode()


def opens_or_says_why(bundle: Path, content: bytes) -> None:
    """Open and inspect a bundle with this manifest."""
    (bundle / MANIFEST).write_bytes(content)
    with contained():
        try:
            open_bundle(bundle)
        except BundleError as error:
            check_line(error)
            assert f2edge("inspect", bundle).error
        else:
            assert json.loads(f2edge("inspect", bundle, "--json").stdout)
            assert f2edge("inspect", bundle).code == 0


def test_the_manifest_itself_is_sound(bundle: Path, manifest: bytes) -> None:
    """Without damage the bundle opens, so that what the others see is due to the damage."""
    (bundle / MANIFEST).write_bytes(manifest)
    assert open_bundle(bundle).quantization


@examples(100)
@given(st.data())
def test_other_values(bundle: Path, manifest: bytes, data: st.DataObject) -> None:
    """Values of any type anywhere, keys missing, unknown or there twice."""
    opens_or_says_why(bundle, data.draw(damaged_json(json.loads(manifest))))


@examples(50)
@given(st.data())
def test_other_bytes(bundle: Path, manifest: bytes, data: st.DataObject) -> None:
    """Bytes changed, lost and repeated."""
    opens_or_says_why(bundle, data.draw(damaged_bytes(manifest)))
