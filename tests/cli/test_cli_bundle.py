"""``f2edge inspect`` and ``verify``, and the error of every subcommand about a damaged bundle."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

import f2edge.cli.verify as verify_module
from f2edge.bundle.manifest import open_bundle
from f2edge.bundle.verified import Verified, VerifiedComponent
from f2edge.model import load
from f2edge.verify import verify
from tests.support.command import f2edge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    EditBundle: TypeAlias = Callable[[Callable[[dict[str, Any]], object]], Path]


@pytest.fixture
def edit_bundle(tiny_bundle: Path, tmp_path: Path) -> EditBundle:
    """Return a function that copies the tiny bundle and applies a change to the copy's manifest."""

    def edit(change: Callable[[dict[str, Any]], object]) -> Path:
        path = tmp_path / "edited"
        shutil.copytree(tiny_bundle, path)
        manifest = json.loads((path / "manifest.json").read_text())
        change(manifest)
        (path / "manifest.json").write_text(json.dumps(manifest))
        return path

    return edit


def test_inspect_json(tiny_bundle: Path) -> None:
    """``inspect --json`` prints the manifest as it stands in the file, and the total size of the files."""
    printed = f2edge("inspect", tiny_bundle, "--json").json
    assert printed.pop("size_bytes") == sum(path.stat().st_size for path in tiny_bundle.iterdir())
    assert printed == json.loads((tiny_bundle / "manifest.json").read_text())


def test_inspect(tiny_bundle: Path) -> None:
    """``inspect`` prints device, sizes, limits, components and tasks of the bundle for people to read."""
    outcome = f2edge("inspect", tiny_bundle)
    assert (outcome.code, outcome.stderr) == (0, "")
    for words in (
        "cpu: openvino on CPU",
        "96x96 pixels, 10 tokens",
        "width 64, 2+2 layers",
        "1600 tokens",
        "prompt 86 tokens, answer 80 tokens",
        "3 beams, at most 80 new tokens",
        "all 6 match their SHA-256",
        "weights.bin",
        "<CAPTION>",
    ):
        assert words in outcome.stdout, words


def test_verify(tiny_bundle: Path) -> None:
    """``verify`` prints one line for every component and one for every golden answer."""
    outcome = f2edge("verify", tiny_bundle)
    assert (outcome.code, outcome.stderr) == (0, "")
    lines = [line.split() for line in outcome.stdout.splitlines()]
    passed = {line[0]: line[-1] for line in lines if line and line[0] in ("vision", "encoder", "decoder")}
    assert passed == {"vision": "yes", "encoder": "yes", "decoder": "yes"}
    assert sum("of" in line for line in lines) == len(open_bundle(tiny_bundle).golden)


def test_verify_json(tiny_bundle: Path) -> None:
    """``verify --json`` prints the same report as ``verify`` returns in Python."""
    printed = f2edge("verify", tiny_bundle, "--device", "CPU", "--json").json
    verified = verify(load(tiny_bundle)).to_json()
    assert list(printed) == list(verified)
    assert printed["passed"]
    assert printed["answers"] == verified["answers"]


def test_verify_that_fails(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed verification still prints its report, with null for NaN; one line on stderr says what is wrong."""
    good = verify(load(tiny_bundle))
    vision = VerifiedComponent.measured("fp32", float("nan"), 1e-4)
    bad = Verified.of(good.device, good.components | {"vision": vision}, good.answers)
    monkeypatch.setattr(verify_module, "verify", lambda _model: bad)
    outcome = f2edge("verify", tiny_bundle, "--json")
    assert outcome.json["components"]["vision"]["relative_error"] is None
    assert not outcome.json["passed"]
    assert "does not compute on CPU what it should: vision is off by nan" in outcome.error


COMMANDS = ("inspect {}", "verify {}", "bench {} --runs 1", "run {} x.png --task od")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_changed_byte(edit_bundle: EditBundle, command: str) -> None:
    """Every subcommand refuses a bundle whose files have changed since it was compiled."""
    bundle = edit_bundle(lambda _manifest: None)
    weights = bytearray((bundle / "weights.bin").read_bytes())
    weights[1000] ^= 1
    (bundle / "weights.bin").write_bytes(weights)
    outcome = f2edge(*command.format(bundle).split())
    assert "weights.bin has changed since it was compiled" in outcome.error
    assert outcome.stdout == ""


def test_no_bundle(tmp_path: Path) -> None:
    """A directory without a manifest is not a bundle, and neither is a directory that does not exist."""
    assert "is not a bundle" in f2edge("inspect", tmp_path).error
    assert "is not a bundle" in f2edge("inspect", tmp_path / "none").error


def test_unknown_version(edit_bundle: EditBundle) -> None:
    """A format version that this f2edge does not know is named in the error."""
    bundle = edit_bundle(lambda manifest: manifest.update(format_version=99))
    assert "has format version 99" in f2edge("inspect", bundle).error


def test_manifest_that_points_outside(edit_bundle: EditBundle) -> None:
    """A manifest that lists a file outside the bundle is refused, even if the hash of that file is right."""
    bundle = edit_bundle(lambda manifest: manifest["components"]["vision"]["sha256"].update({"../secret": "0" * 64}))
    assert "../secret leads out of the bundle" in f2edge("inspect", bundle).error


def test_unknown_runtime(edit_bundle: EditBundle) -> None:
    """A bundle for an engine that this version does not support is refused when it is opened."""
    bundle = edit_bundle(lambda manifest: manifest["recipe"].update(runtime="abacus"))
    assert "abacus" in f2edge("verify", bundle).error


def test_quantization_without_its_parts(edit_bundle: EditBundle) -> None:
    """A quantization record that lacks a field is refused in one line that names the field."""
    bundle = edit_bundle(lambda manifest: manifest.update(quantization={"blocks": [{}]}))
    assert "quantization.blocks[0]: missing component" in f2edge("inspect", bundle).error
