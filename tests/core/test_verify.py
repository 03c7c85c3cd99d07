"""``verify`` passes a good bundle, and names the component that is damaged."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from f2edge.bundle.golden import relative_error
from f2edge.bundle.manifest import COMPONENTS, sha256
from f2edge.bundle.verified import Verified, VerifiedAnswer, VerifiedComponent
from f2edge.bundle.writing import MANIFEST
from f2edge.model import load
from f2edge.quantize.onnx_files import save_onnx
from f2edge.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.model import Florence2
    from f2edge.targets import Precision

TARGETS = ("tiny_bundle", "tiny_onnx_bundle")


@pytest.fixture(scope="module", params=TARGETS)
def model(request: pytest.FixtureRequest) -> Florence2:
    """Open a fresh bundle."""
    return load(request.getfixturevalue(request.param))


def test_a_fresh_bundle_passes(model: Florence2) -> None:
    """In a fresh bundle every component is far within its tolerance, and all tokens equal the reference's."""
    verified = verify(model)
    assert verified.passed
    assert list(verified.components) == list(COMPONENTS)
    assert all(0 < (component.relative_error or 0) < 1e-5 for component in verified.components.values())
    assert [(answer.task, answer.num_beams) for answer in verified.answers] == [("<CAPTION>", 1), ("<OD>", 3)]
    assert all(answer.agreeing == answer.tokens > 2 for answer in verified.answers)
    recorded = model.bundle.verified
    assert recorded
    assert recorded.components.keys() == set(COMPONENTS)
    assert all(component.passed for component in recorded.components.values())
    assert json.loads(json.dumps(verified.to_json())) == verified.to_json()


def damage_onnx(path: Path, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    """Change every seventh value of each large initializer."""
    graph = onnx.load(path)
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 1000:
            changed = values.copy()
            changed.flat[::7] = change(changed.flat[::7])
            tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    # The graph gets its own data file, because the other graphs read the common one.
    (path.parent / f"{path.name}.data").unlink(missing_ok=True)
    save_onnx(graph, path)


def damage_ir(path: Path, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> None:
    """Change every seventh value of the large weights that no other graph reads."""
    file = path.with_name("weights.bin")
    data = bytearray(file.read_bytes())
    others = [other.read_text() for other in path.parent.glob("*.xml") if other != path]
    for place, offset, size in re.findall(r'element_type="f32" [^>]*?(offset="(\d+)" size="(\d+)")', path.read_text()):
        if int(size) > 4000 and not any(place in other for other in others):
            values = np.frombuffer(data, np.float32, int(size) // 4, int(offset))
            values[::7] = change(values[::7])
    file.write_bytes(data)


def rehash(path: Path) -> None:
    """Update the hashes in the manifest to the changed files."""
    manifest = json.loads((path / MANIFEST).read_text())
    for component in manifest["components"].values():
        component["sha256"] = {name: sha256(path / name) for name in component["sha256"]}
    (path / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_damaged_component_is_named(
    target: str, component: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """If weights are slightly wrong but hashes match, this component fails, and those before it pass."""
    path = shutil.copytree(request.getfixturevalue(target), tmp_path / "bundle")
    damage, kind = (damage_ir, "xml") if target == "tiny_bundle" else (damage_onnx, "onnx")
    damage(path / f"{component}.{kind}", lambda values: values * 1.05)
    rehash(path)
    verified = verify(load(path))
    assert not verified.passed
    failed = verified.failed()
    assert component in failed
    assert set(failed) <= set(COMPONENTS[COMPONENTS.index(component) :]) - (
        {"encoder"} if component == "vision" else set()
    )
    assert 1e-4 < (failed[component].relative_error or 0) < 2
    assert verified.to_json()["components"][component]["passed"] is False


@pytest.mark.parametrize("component", COMPONENTS)
def test_not_a_number_fails_with_a_report(component: str, tiny_onnx_bundle: Path, tmp_path: Path) -> None:
    """If weights are NaN, the report names the component instead of stopping, and is valid JSON."""
    path = shutil.copytree(tiny_onnx_bundle, tmp_path / "bundle")
    damage_onnx(path / f"{component}.onnx", lambda values: values * np.nan)
    rehash(path)
    verified = verify(load(path))
    assert not verified.components[component].passed
    assert verified.components[component].relative_error is None
    assert not verified.passed
    assert f"{component} is off by nan" in verified.why()
    assert all(answer.agreeing == 0 for answer in verified.answers)
    text = json.dumps(verified.to_json(), allow_nan=False)
    assert json.loads(text)["components"][component]["relative_error"] is None


def test_not_a_number_in_one_case_is_not_lost_in_the_next(model: Florence2) -> None:
    """The worst of all cases counts, and NaN is worse than any number."""
    runtime = model.runtime
    calls = []

    class Broken:
        """A runtime whose encoder gives NaN in the first case only."""

        device = "broken"

        def __getattr__(self, name: str) -> Any:
            return getattr(runtime, name)

        def start(self, features: Any, prompt_ids: Any) -> Any:
            session: Any = runtime.start(features, prompt_ids)
            calls.append(session)
            if len(calls) == 1:
                cross = [np.full_like(values, np.nan) for values in session.cross_key_values()]
                session.cross_key_values = lambda: cross
            return session

    broken: Any = Broken()
    verified = verify(type(model)(model.bundle, broken, model.tokenizer))
    assert len(calls) > 1
    assert list(verified.failed()) == ["encoder"]


def test_relative_error() -> None:
    """The error is the norm of the difference over the norm of the reference; zeros against zeros give 0."""
    reference = np.array([3.0, 4.0], np.float32)
    assert relative_error(reference, reference) == 0
    assert relative_error(reference * np.float32(1.5), reference) == pytest.approx(0.5)
    zeros = np.zeros(2, np.float32)
    assert relative_error(zeros, zeros) == 0
    assert relative_error(reference, zeros) == np.inf
    assert np.isnan(relative_error(reference * np.float32(np.nan), reference))


def test_the_verdict() -> None:
    """Components always count towards the verdict, tokens only in fp32, and NaN never passes."""

    def passed(error: float, precision: Precision, tolerance: float, agreeing: int) -> bool:
        component = VerifiedComponent.measured(precision, error, tolerance)
        return Verified.of("CPU", {"vision": component}, (VerifiedAnswer("<OD>", 3, 20, agreeing),)).passed

    assert passed(1e-6, "fp32", 1e-4, 20)
    assert not passed(1e-6, "fp32", 1e-4, 19)
    assert passed(1e-6, "fp16", 1e-2, 19)
    assert not passed(float("nan"), "fp16", 1e-2, 20)
    assert not passed(2e-4, "fp32", 1e-4, 20)
    assert VerifiedComponent.measured("fp32", 1e-6, 1e-4).sqnr_db == pytest.approx(120)
