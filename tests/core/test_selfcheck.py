"""A device is checked on its first use; components that it computes wrongly run on the CPU instead."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
import pytest

import f2edge
from f2edge import runtimes, selfcheck
from f2edge.bundle.manifest import COMPONENTS
from f2edge.bundle.user_cache import user_cache
from f2edge.errors import DeviceError, DeviceWarning, InputError
from f2edge.placement import Placement
from tests.support.pretended import pretend_npu

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from f2edge.bundle.manifest import Bundle
    from f2edge.bundle.verified import Verified
    from f2edge.engine import Runtime
    from f2edge.model import Florence2
    from f2edge.verify import Model


@pytest.fixture(autouse=True)
def checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Start with no known verdicts; return the list of the devices that get checked, in order."""
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "cache"))
    done, real = [], selfcheck.verify

    def verify(model: Model) -> Verified:
        done.append(model.runtime.device)
        return real(model)

    monkeypatch.setattr(selfcheck, "verify", verify)
    return done


def verdicts() -> list[Path]:
    """Return the files that hold the verdicts."""
    return sorted(user_cache().glob("verdicts/*"))


def answer(model: Florence2) -> Any:
    """Return the tokens of a model's answer about a grey picture."""
    return model.run(np.full((40, 60, 3), 90, np.uint8), "od", max_new_tokens=20).token_ids


def test_a_device_that_is_right(tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch, checks: list[str]) -> None:
    """A correct device is checked once, without a warning, and used as requested."""
    pretend_npu(monkeypatch)
    for _ in range(2):
        assert f2edge.load(tiny_npu_bundle, on_mismatch="error").runtime.device == "NPU"
    assert checks == ["NPU"]
    assert len(verdicts()) == 1
    f2edge.load(tiny_npu_bundle)
    assert checks == ["NPU"]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Placement]:
    """Return the list of the placements on which the bundle gets opened, in order."""
    places, real = [], runtimes.open_runtime

    def open_runtime(bundle: Bundle, placement: Placement) -> Runtime:
        places.append(placement)
        return real(bundle, placement)

    monkeypatch.setattr(runtimes, "open_runtime", open_runtime)
    return places


def test_a_checked_model_is_not_opened_again(
    tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Placement]
) -> None:
    """The first start returns the model that was checked, and the next start opens the bundle only once, too."""
    pretend_npu(monkeypatch, damaged=["vision"])
    asked, settled = Placement.on("NPU"), Placement("CPU", "NPU", "NPU")
    with pytest.warns(DeviceWarning, match="vision=CPU"):
        f2edge.load(tiny_npu_bundle, on_mismatch="fallback")
    assert opened == [asked, settled]
    with pytest.warns(DeviceWarning, match="vision=CPU"):
        f2edge.load(tiny_npu_bundle, on_mismatch="fallback")
    assert opened == [asked, settled, settled]


def test_the_warning_is_at_the_call(tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning points at the call of ``load``, at the first start and at the next."""
    pretend_npu(monkeypatch, damaged=["encoder"])
    for _ in range(2):
        with pytest.warns(DeviceWarning) as caught:
            f2edge.load(tiny_npu_bundle, on_mismatch="warn")
        assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("how", ["damaged", "failing"])
def test_fallback(
    component: str, how: str, tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch, checks: list[str]
) -> None:
    """Only the wrong or refused component moves to the CPU; answers equal the CPU's; the verdict is kept."""
    expected = answer(f2edge.load(tiny_npu_bundle, "CPU"))
    pretend_npu(monkeypatch, **{how: [component]})
    reason = "off by" if how == "damaged" else f"cannot compile {component}"
    with pytest.warns(DeviceWarning, match=rf"{component}: .*{reason}.*; runs as .*{component}=CPU"):
        model = f2edge.load(tiny_npu_bundle, on_mismatch="fallback")
    places = {name: "CPU" if name == component else "NPU" for name in COMPONENTS}
    assert model.runtime.device == ",".join(f"{name}={device}" for name, device in places.items())
    assert answer(model) == expected
    checked = len(checks)
    with pytest.warns(DeviceWarning, match=reason):
        again = f2edge.load(tiny_npu_bundle, on_mismatch="fallback")
    assert again.runtime.device == model.runtime.device
    assert len(checks) == checked


def test_several_components_move(tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the engine refuses one component and computes another wrongly, both move to the CPU."""
    pretend_npu(monkeypatch, damaged=["vision"], failing=["decoder"])
    with pytest.warns(DeviceWarning, match=r"vision: it is off by .*decoder: .*cannot compile"):
        model = f2edge.load(tiny_npu_bundle, on_mismatch="fallback")
    assert model.runtime.device == "vision=CPU,encoder=NPU,decoder=CPU"


def test_error_and_warning(tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch, checks: list[str]) -> None:
    """Each time, one line says what is wrong and what to do; in mode "warn" the model is used as requested."""
    pretend_npu(monkeypatch, damaged=["encoder"])
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"on NPU .*encoder: it is off by .*on_mismatch='fallback'") as error:
            f2edge.load(tiny_npu_bundle, on_mismatch="error")
        assert "\n" not in str(error.value)
        with pytest.warns(DeviceWarning, match="off by .*; goes on as asked"):
            assert f2edge.load(tiny_npu_bundle, on_mismatch="warn").runtime.device == "NPU"
    assert checks == ["NPU"]


def test_an_engine_that_fails_without_fallback(tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's error is passed on, and no verdict is kept, because the cause may be temporary."""
    pretend_npu(monkeypatch, failing=["vision"])
    for mode in ("error", "warn"):
        with pytest.raises(DeviceError, match=r"cannot load .*cannot compile vision"):
            f2edge.load(tiny_npu_bundle, on_mismatch=mode)  # type: ignore[arg-type]
    assert verdicts() == []


def test_nowhere_to_go(tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that the CPU computes wrongly, too, is refused."""
    monkeypatch.setattr("f2edge.verify.TOLERANCE", dict.fromkeys(("fp32", "fp16", "bf16", "int8"), 1e-12))
    with pytest.raises(DeviceError, match="fails on the CPU, too: vision: it is off by"):
        f2edge.load(tiny_npu_bundle, "CPU", on_mismatch="fallback")


def test_a_verdict_depends_on_driver_placement_version_and_bundle(
    tiny_npu_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: list[str]
) -> None:
    """Another driver, placement, version or bundle is checked anew."""
    pretend_npu(monkeypatch)
    other = shutil.copytree(tiny_npu_bundle, tmp_path / "other")
    (other / "manifest.json").write_text((other / "manifest.json").read_text() + "\n")

    def load(path: Path = tiny_npu_bundle, device: str | None = None) -> int:
        f2edge.load(path, device, on_mismatch="error")
        return len(checks)

    assert (load(), load(), load(other)) == (1, 1, 2)
    assert (load(device="vision=CPU"), load(device="vision=CPU")) == (3, 3)
    with monkeypatch.context() as patch:
        pretend_npu(patch, driver=2)
        assert load() == 4
    monkeypatch.setattr(selfcheck, "_version", lambda name: f"{name} of tomorrow")
    assert load() == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"{",
        lambda _: b"[]",
        lambda _: b'{"verdict": {"placement": 3, "faults": {}}, "sha256": ""}',
        lambda _: b'{"verdict": {"placement": "x=y", "faults": {}}, "sha256": ""}',
        lambda _: b"\xff",
        lambda sound: sound.replace(b'"NPU"', b'"CPU"', 1),  # a verdict of another placement
    ],
)
def test_a_damaged_verdict(
    damage: Callable[[bytes], bytes], tiny_npu_bundle: Path, monkeypatch: pytest.MonkeyPatch, checks: list[str]
) -> None:
    """A damaged verdict is ignored and written anew."""
    pretend_npu(monkeypatch)
    f2edge.load(tiny_npu_bundle, on_mismatch="error")
    (file,) = verdicts()
    sound = file.read_bytes()
    assert damage(sound) != sound
    file.write_bytes(damage(sound))
    f2edge.load(tiny_npu_bundle, on_mismatch="error")
    assert file.read_bytes() == sound
    assert len(checks) == 2


def test_without_a_cache(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: list[str]) -> None:
    """If no cache can be written, the device is checked at each start."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("F2EDGE_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert f2edge.load(tiny_bundle, on_mismatch="fallback").runtime.device == "CPU"
    assert len(checks) == 2


def test_another_engine(tiny_onnx_bundle: Path, checks: list[str]) -> None:
    """The check works for ONNX Runtime as well."""
    assert f2edge.load(tiny_onnx_bundle, on_mismatch="error", threads=1).runtime.threads == 1
    assert checks == ["CPU"]


def test_an_unknown_mode(tiny_bundle: Path) -> None:
    """An unknown mode is refused, and the error lists the known ones."""
    with pytest.raises(InputError, match="on_mismatch is 'ignore'; it must be one of error, fallback, warn"):
        f2edge.load(tiny_bundle, on_mismatch="ignore")  # type: ignore[arg-type]


def test_the_pretended_npu_ends_with_its_test() -> None:
    """The simulated NPU is gone after its test, and the engine has its own devices again."""
    assert "pretended" not in ov.Core.__module__
