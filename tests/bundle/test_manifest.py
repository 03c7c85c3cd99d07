"""Opening a bundle: everything that may be wrong with one is a ``BundleError`` that says what and where."""

from __future__ import annotations

import json
import math
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from f2edge.bundle.golden import GoldenArrays
from f2edge.bundle.limits import Limits
from f2edge.bundle.manifest import FORMAT_VERSION, GOLDEN, TOKENIZER, Adapter, Bundle, open_bundle, sha256
from f2edge.bundle.writing import MANIFEST
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import BundleError
from f2edge.processing import ImageProcessing
from tests.support.manifests import CALIBRATION, QUANTIZATION, paths, replaced

if TYPE_CHECKING:
    from pathlib import Path

FILES = ["vision.xml", "encoder.xml", "decoder.xml", "weights.bin"]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle, which a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture
def manifest(bundle: Path) -> dict[str, Any]:
    """Return the manifest of the copy."""
    return json.loads((bundle / MANIFEST).read_text())  # type: ignore[no-any-return]


def write(bundle: Path, manifest: object) -> None:
    """Replace the manifest."""
    (bundle / MANIFEST).write_text(json.dumps(manifest))


def refused(bundle: Path) -> str:
    """Open a bundle that must be refused; return the error, which is one line that names the bundle."""
    with pytest.raises(BundleError) as error:
        open_bundle(bundle)
    assert "\n" not in str(error.value)
    assert str(bundle) in str(error.value)
    return str(error.value)


def test_a_written_bundle_is_read_back(bundle: Path) -> None:
    """A bundle is equal after writing its manifest again, and the manifest has the hash of every other file."""
    opened = open_bundle(bundle)
    assert isinstance(opened, Bundle)
    assert opened.hashes().keys() == {*FILES, TOKENIZER, GOLDEN}
    assert {path.name for path in bundle.iterdir()} == {*opened.hashes(), MANIFEST}
    assert opened.size_bytes == sum(path.stat().st_size for path in bundle.iterdir())
    before = (bundle / MANIFEST).read_bytes()
    opened.write_manifest()
    assert (bundle / MANIFEST).read_bytes() == before
    assert open_bundle(bundle) == opened


def test_calibrations_are_read_back(bundle: Path, manifest: dict[str, Any]) -> None:
    """The knots of confidences survive, and change no hash; a manifest from before there were any has none."""
    write(bundle, manifest | {"confidence": {"<OD>": CALIBRATION}})
    opened = open_bundle(bundle)
    assert opened.to_json()["confidence"]["<OD>"] == CALIBRATION | {
        name: tuple(CALIBRATION[name])  # type: ignore[arg-type]
        for name in ("weights", "logits", "confidences")
    }
    opened.write_manifest()
    assert open_bundle(bundle) == opened
    del manifest["confidence"]
    write(bundle, manifest)
    assert open_bundle(bundle).confidence == {}


@pytest.mark.parametrize(
    ("task", "changed", "message"),
    [
        ("<OD>", {"logits": [0.0, 0.0, 1.0]}, "confidence.<OD>: its logits do not ascend"),
        ("<OD>", {"weights": [1.0]}, "confidence.<OD>: it has 1 weights, not 2"),
        ("<OD>", {"bias": "a"}, "confidence.<OD>.bias"),
        ("<ODD>", {}, "confidence: '<ODD>' is no task"),
    ],
)
def test_impossible_calibrations(
    task: str, changed: dict[str, Any], message: str, bundle: Path, manifest: dict[str, Any]
) -> None:
    """What no fit gives is refused."""
    write(bundle, manifest | {"confidence": {task: CALIBRATION | changed}})
    assert message in refused(bundle)


@pytest.mark.parametrize("name", [*FILES, TOKENIZER, GOLDEN])
def test_one_changed_byte(name: str, bundle: Path) -> None:
    """One changed byte in any file is reported, unless the hashes are not checked."""
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert f"{name} has changed since it was compiled" in refused(bundle)
    open_bundle(bundle, check_hashes=False)


@pytest.mark.parametrize("name", [*FILES, TOKENIZER, GOLDEN])
def test_a_missing_file(name: str, bundle: Path) -> None:
    """A missing file is reported, whether or not the hashes are checked."""
    (bundle / name).unlink()
    assert f"{name} is missing" in refused(bundle)
    with pytest.raises(BundleError, match="is missing"):
        open_bundle(bundle, check_hashes=False)


def test_all_faults_at_once(bundle: Path) -> None:
    """One message names a missing file, a changed one and one that leads out of the bundle."""
    (bundle / "vision.xml").unlink()
    (bundle / "weights.bin").write_bytes(b"")
    outside = bundle.with_name("outside")
    (bundle / GOLDEN).rename(outside)
    (bundle / GOLDEN).symlink_to(outside)
    message = refused(bundle)
    for fault in ("vision.xml is missing", "weights.bin has changed", f"{GOLDEN} leads out of the bundle"):
        assert fault in message


@pytest.mark.parametrize("place", ["../outside", "{parent}/outside", "sub/file", "link", "."])
def test_a_manifest_that_points_outside(place: str, bundle: Path, manifest: dict[str, Any]) -> None:
    """A path that leaves the bundle is refused, even if the hash of its file is right."""
    outside = bundle.with_name("outside")
    shutil.copy(bundle / "weights.bin", outside)
    (bundle / "link").symlink_to(outside)
    (bundle / "sub").mkdir()
    shutil.copy(outside, bundle / "sub" / "file")
    name = place.format(parent=bundle.parent)
    manifest["components"]["vision"]["sha256"][name] = sha256(outside)
    write(bundle, manifest)
    assert f"{name} " in refused(bundle)
    with pytest.raises(BundleError):
        open_bundle(bundle, check_hashes=False)


@pytest.mark.parametrize("name", ["x" * 300, "a\nb", "\ud800", "\x00", "\x1b[2J"], ids=ascii)
def test_names_that_no_file_has(name: str, bundle: Path, manifest: dict[str, Any]) -> None:
    """A name that is too long for the file system, or that a line cannot show as it is, is one of a missing file."""
    manifest["components"]["vision"]["sha256"][name] = "0" * 64
    write(bundle, manifest)
    assert "is missing" in refused(bundle)


def test_a_component_whose_main_file_is_not_hashed(bundle: Path, manifest: dict[str, Any]) -> None:
    """The main file of a component must be among the hashed files."""
    manifest["components"]["decoder"]["file"] = "../decoder.xml"
    write(bundle, manifest)
    assert "component decoder has no file of its own" in refused(bundle)


def test_one_file_with_two_hashes(bundle: Path, manifest: dict[str, Any]) -> None:
    """A file that parts of the manifest share has the same hash in each of them, whichever is right."""
    for part in (manifest["components"]["vision"]["sha256"], manifest["components"]["decoder"]["sha256"]):
        write(bundle, manifest)
        open_bundle(bundle)
        right, part["weights.bin"] = part["weights.bin"], "0" * 64
        write(bundle, manifest)
        assert "weights.bin has two hashes in the manifest" in refused(bundle)
        part["weights.bin"] = right
    manifest["files"]["vision.xml"] = "0" * 64
    (bundle / "encoder.xml").unlink()
    write(bundle, manifest)
    assert "vision.xml has two hashes in the manifest; encoder.xml is missing" in refused(bundle)


@pytest.mark.parametrize("name", ["files", "tokenizer.json", "sha256", "num_beams", "passed"])
def test_a_member_that_is_there_twice(name: str, bundle: Path) -> None:
    """Of two members with the same name neither counts, at any depth."""
    text = (bundle / MANIFEST).read_text()
    assert f'"{name}": ' in text
    (bundle / MANIFEST).write_text(text.replace(f'"{name}": ', f'"{name}": null, "{name}": ', 1))
    assert f"{name!r} is there twice" in refused(bundle)


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, "1", None, [], True])
def test_an_unknown_version(version: Any, bundle: Path, manifest: dict[str, Any]) -> None:
    """The error names both format versions, whatever else the manifest holds."""
    write(bundle, {**manifest, "format_version": version})
    assert f"format version {version}, this f2edge reads {FORMAT_VERSION}" in refused(bundle)
    write(bundle, {"format_version": version})
    assert "format version" in refused(bundle)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 200_000, b'{"format_version": 1}'])
def test_a_manifest_that_is_not_readable(content: bytes, bundle: Path) -> None:
    """A manifest that is empty, truncated, no object, not UTF-8, nested too deep or has no members is refused."""
    (bundle / MANIFEST).write_bytes(content)
    refused(bundle)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    """A directory without a manifest, a file and a missing path are not bundles."""
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file", tmp_path / "none"):
        with pytest.raises(BundleError, match="is not a bundle"):
            open_bundle(path)


def test_a_manifest_that_is_too_large(bundle: Path) -> None:
    """A manifest of more than 16 MiB is refused without being read."""
    with (bundle / MANIFEST).open("r+b") as file:
        file.truncate(17 * 2**20)
    assert "too large" in refused(bundle)


@pytest.mark.parametrize("value", [None, [], {}, "x", 1, True, [None], ...], ids=str)
def test_wrong_types_everywhere(value: Any, bundle: Path, manifest: dict[str, Any]) -> None:
    """If any value is replaced or removed, the bundle is refused with a ``BundleError`` unless the value fits."""
    places = [path for path in paths(manifest) if path != ("format_version",)]
    assert len(places) > 110
    accepted = set()
    for path in places:
        write(bundle, replaced(manifest, path, value))
        try:
            open_bundle(bundle, check_hashes=False)
        except BundleError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            accepted.add(path)
    assert {path for path in accepted if not _fits(manifest, path, value)} == set()


PROCESSING = ("geometry", "image_processing")
NULLABLE = {
    *("forced_bos_token_id", "forced_eos_token_id", "eos_token_id", "min_new_tokens"),
    *("exponential_decay_length_penalty", "rescale_factor", "resize_to", "shortest_edge", "longest_edge", "largest"),
}
"""Settings that may be null, which says that there is none."""


def _fits(manifest: dict[str, Any], path: tuple[Any, ...], value: Any) -> bool:
    """Return whether the manifest may hold ``value`` there: it has the same type, and no required part is emptied."""
    there: Any = manifest
    for key in path:
        there = there[key]
    if value is ... and (str(path[-1]).endswith(".bin") or path[-1] == "compute"):
        return True  # the engine decides which files a graph has beside its main one; it computes in fp32 by default
    if path in (("quantization",), ("confidence",)) and value in ({}, ...):
        return True  # INT8 was not measured, no confidence was calibrated
    if path[:2] == PROCESSING and value in ({}, ...):
        return value is ... or path == PROCESSING  # bundles from before it had the defaults
    kept = path[0] in ("tools", "recipe", "generation") or (path[0] == "golden" and len(path) > 1)
    if value in ({}, []) or value is ...:
        return kept and len(path) + (value == {}) > 1
    if path[-1] == "sqnr_db" and value is None:
        return True  # the error was not finite
    nullable = path[-1] in NULLABLE
    number = isinstance(there, float) and type(value) in (int, float)
    return type(value) is type(there) or number or (nullable and value in (None, 1))


_IMPOSSIBLE: list[tuple[str, Any]] = [
    ("geometry.image_size", [96, 0]),
    ("geometry.image_size", [100, 96]),
    ("geometry.image_size", [-32, 96]),
    ("recipe.calibrated", False),
    ("geometry.image_size", [672, 96]),
    ("geometry.image_size", [512, 512]),
    ("geometry.image_mean", [0.5, math.inf, 0.5]),
    ("geometry.image_std", [0.5, 0.0, 0.5]),
    ("geometry.image_std", [0.5, math.nan, 0.5]),
    ("geometry.image_processing.resample", 6),
    ("geometry.image_processing.resize_to", [64, 64]),
    ("geometry.image_processing.shortest_edge", 112),
    ("geometry.image_processing.do_resize", False),
    ("geometry.image_processing.rescale_factor", math.inf),
    ("geometry.decoder_positions", 10**6),
    ("geometry.image_positions", [20, 0]),
    ("geometry.decoder_attention_heads", 0),
    ("geometry.vocab_size", -1),
    ("geometry.vision.patch_stride", [0, 2, 2, 2]),
    ("geometry.vision.patch_stride", [100, 2, 2, 2]),
    ("geometry.vision.patch_padding", [3, 1, 1, -1]),
    ("geometry.vision.patch_padding", [3, 1, 1, 9]),
    ("generation.num_beams", 65),
    ("generation.max_new_tokens", 81),
    ("generation.length_penalty", math.inf),
    ("generation.eos_token_id", 1600),
    ("generation.eos_token_id", [2, 1600]),
    ("generation.bad_words_ids", [[1600]]),
    ("generation.repetition_penalty", 0.0),
    ("generation.suppress_tokens", [0]),
    ("generation.forced_bos_token_id", 1600),
    ("generation.decoder_start_token_id", 1600),
    ("golden.0.prompt_ids", []),
    ("golden.0.prompt_ids", [0, 1600, 2]),
    ("golden.0.prompt_ids", [5] * 87),
    ("golden.1.token_ids", [2]),
    ("golden.1.token_ids", [2, -1]),
    ("golden.1.num_beams", 65),
    ("golden.1.max_new_tokens", 81),
    ("components.vision.precision", "int4"),
]


@pytest.mark.parametrize(("place", "value"), _IMPOSSIBLE, ids=str)
def test_values_that_no_model_has(place: str, value: Any, bundle: Path, manifest: dict[str, Any]) -> None:
    """A value of the right type that no model can have is refused, and the error names it."""
    path = tuple(int(key) if key.isdigit() else key for key in place.split("."))
    write(bundle, replaced(manifest, path, value))
    message = refused(bundle)
    assert "is damaged" in message
    assert any(name in message for name in (str(path[-1]), str(path[-1]).replace("_", " "), "in the vocabulary"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_beams", 2), ("num_beams", 65), ("prompt_tokens", 0), ("prompt_tokens", 87), ("new_tokens", 81)],
)
def test_fixed_shapes_that_no_model_has(name: str, value: int, bundle: Path, manifest: dict[str, Any]) -> None:
    """Shapes beyond the model's positions, or too small for the golden cases, are refused; others are read."""
    shapes = {"num_beams": 3, "prompt_tokens": 60, "new_tokens": 80}
    manifest["recipe"]["static_shapes"] = shapes
    write(bundle, manifest)
    assert open_bundle(bundle).limits == Limits(**shapes)
    manifest["recipe"]["static_shapes"] = {**shapes, name: value}
    write(bundle, manifest)
    assert f"static_shapes: {name} is {value}" in refused(bundle)


def test_adapters_are_read_back(bundle: Path, manifest: dict[str, Any]) -> None:
    """The adapters survive; a manifest from before there were any has none, and a weight must be finite."""
    adapter = {"name": "mine", "weight": 0.5, "sha256": {"adapter_config.json": "0" * 64}}
    manifest["recipe"]["adapters"] = [adapter]
    write(bundle, manifest)
    opened = open_bundle(bundle)
    assert opened.recipe.adapters == (Adapter("mine", 0.5, adapter["sha256"]),)  # type: ignore[arg-type]
    opened.write_manifest()
    assert json.loads((bundle / MANIFEST).read_text()) == manifest
    write(bundle, replaced(manifest, ("recipe", "adapters", 0, "weight"), math.nan))
    assert "recipe: the weight of adapter 'mine' is nan" in refused(bundle)
    write(bundle, replaced(manifest, ("recipe", "adapters"), ...))
    assert open_bundle(bundle).recipe.adapters == ()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_of_a_component(precision: str, bundle: Path, manifest: dict[str, Any]) -> None:
    """A component may be stored in each precision, INT8 included."""
    manifest["components"]["vision"]["precision"] = precision
    write(bundle, manifest)
    assert open_bundle(bundle).components["vision"].precision == precision


def test_verified_must_be_complete(bundle: Path, manifest: dict[str, Any]) -> None:
    """``verified`` decides the tolerance of ``verify``, so a bundle without it or with a damaged one is refused."""
    verified = open_bundle(bundle).verified
    assert verified
    assert verified.to_json() == manifest["verified"]
    spoilt = [path for path in paths(manifest) if path[0] == "verified"]
    assert len(spoilt) > 20
    for path in spoilt:
        for value in ({"x": []}, {}, None, ...):
            if (path[-1], value) != ("sqnr_db", None):
                write(bundle, replaced(manifest, path, value))
                assert "verified" in refused(bundle)
    write(bundle, replaced(manifest, ("verified", "components", "vision", "sqnr_db"), None))
    verified = open_bundle(bundle).verified
    assert verified
    assert verified.components["vision"].sqnr_db is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("passed", False),
        ("components.vision.passed", False),
        ("components.vision.relative_error", math.nan),
        ("components.vision.relative_error", -1e-6),
        ("components.vision.relative_error", 1.0),
        ("components.vision.tolerance", math.inf),
        ("components.vision.sqnr_db", 3.0),
        (
            "components.other",
            {"precision": "int8", "relative_error": 0.1, "sqnr_db": 20.0, "tolerance": 1, "passed": True},
        ),
        ("answers.0.agreeing", 1),
        ("answers.1.agreeing", -1),
        ("answers.1.tokens", 10**6),
        ("answers", []),
    ],
)
def test_verified_must_be_consistent(place: str, value: Any, bundle: Path, manifest: dict[str, Any]) -> None:
    """Numbers that contradict each other, and a verdict with which no bundle is written, are refused."""
    path = ("verified", *(int(key) if key.isdigit() else key for key in place.split(".")))
    write(bundle, replaced(manifest, path, value))
    assert "is damaged (verified: " in refused(bundle)


@pytest.mark.parametrize("measured", [QUANTIZATION, {"blocks": QUANTIZATION["blocks"]}, {"blocks": []}, {}])
def test_quantization_is_read_and_written(measured: dict[str, Any], bundle: Path, manifest: dict[str, Any]) -> None:
    """Measurements with a search for a mix, without one, or none at all are written back unchanged."""
    write(bundle, {**manifest, "quantization": measured})
    opened = open_bundle(bundle)
    assert (opened.quantization is None) == (measured == {})
    opened.write_manifest()
    assert json.loads((bundle / MANIFEST).read_text()) == {**manifest, "quantization": measured}


def test_a_bundle_without_quantization(bundle: Path, manifest: dict[str, Any]) -> None:
    """The first bundles of this format version lack the key, and nothing but a display depends on it."""
    write(bundle, replaced(manifest, ("quantization",), ...))
    assert open_bundle(bundle).quantization is None


def test_quantization_must_be_complete(bundle: Path, manifest: dict[str, Any]) -> None:
    """A quantization record that is damaged, or lacks a part that ``inspect`` prints, is refused."""
    whole = {**manifest, "quantization": QUANTIZATION}
    spoilt = [path for path in paths(whole) if path[0] == "quantization"]
    assert len(spoilt) > 25
    for path in spoilt:
        write(bundle, replaced(whole, path, {"x": [0]}))
        assert "quantization" in refused(bundle)
    for value in (None, [], {"blocks": [{}]}, {"budget": 0.1}):
        write(bundle, {**manifest, "quantization": value})
        assert "quantization" in refused(bundle)


@pytest.mark.parametrize(
    ("place", "value", "fault"),
    [
        ("blocks.0.component", "head\n", r"there is no component 'head\n'"),
        ("int8", [["head", "a"]], "there is no component 'head'"),
        ("budget", None, "it has mixes, but no budget"),
        ("mixes.0.chosen", True, "not exactly one of its mixes is the chosen one"),
        ("mixes", [], "not exactly one of its mixes is the chosen one"),
        ("int8", [], "not exactly one of its mixes is the chosen one"),
        ("int8", [["vision", "none"]], "int8 does not list blocks, each once"),
        ("blocks.1", QUANTIZATION["blocks"][0], "two of its blocks have the same name"),
        ("blocks.1.operations", 0.75, "its blocks have more than all operations together"),
        ("blocks.0.operations", 1.5, r"blocks[0]: operations is 1.5, not 0 to 1"),
        ("blocks.1.operations", -0.5, r"blocks[1]: operations is -0.5, not 0 to 1"),
        ("blocks.0.operations", math.nan, r"blocks[0]: operations is nan, not 0 to 1"),
        ("blocks.0.sqnr_db", math.inf, "blocks[0]: sqnr_db is inf"),
        ("blocks.0.divergence", -1.0, "blocks[0]: divergence is -1.0"),
        ("blocks.0.divergence", math.nan, "blocks[0]: divergence is nan"),
        ("blocks.0.loss", -0.01, "blocks[0]: loss is -0.01"),
        ("budget", -0.01, "budget is -0.01"),
        ("budget", math.inf, "budget is inf"),
        ("mixes.0.milliseconds", -1.5, "mixes[0]: milliseconds is -1.5"),
        ("mixes.1.milliseconds", 0.0, "mixes[1]: milliseconds is 0.0"),
        ("mixes.1.milliseconds", math.nan, "mixes[1]: milliseconds is nan"),
        ("mixes.0.int8_blocks", 3, "mixes[0]: int8_blocks is 3, not 0 to 2"),
        ("mixes.2.int8_blocks", -1, "mixes[2]: int8_blocks is -1, not 0 to 2"),
        ("mixes.0.loss", math.inf, "mixes[0]: loss is inf"),
        ("mixes.1.loss", None, "mixes[1]: loss is None"),
    ],
)
def test_quantization_must_be_consistent(
    place: str, value: Any, fault: str, bundle: Path, manifest: dict[str, Any]
) -> None:
    """Values of the right types that contradict each other are refused."""
    path = tuple(int(key) if key.isdigit() else key for key in f"quantization.{place}".split("."))
    write(bundle, replaced({**manifest, "quantization": QUANTIZATION}, path, value))
    assert f"quantization: {fault}" in refused(bundle)


def test_all_damage_of_a_manifest_at_once(bundle: Path, manifest: dict[str, Any]) -> None:
    """One message names a missing part, wrong types, an invalid setting and missing parts within parts."""
    del manifest["recipe"]
    manifest["geometry"]["d_model"] = "64"
    manifest["generation"]["num_beams"] = 0
    del manifest["verified"]["components"]["decoder"]["tolerance"]
    manifest["verified"]["device"] = None
    manifest["quantization"] = {"blocks": [{}]}
    write(bundle, manifest)
    message = refused(bundle)
    for fault in (
        "it lacks recipe",
        "geometry.d_model is '64', not int",
        "generation: num_beams is 0",
        "verified.device is None, not str",
        "verified.components.decoder: missing tolerance",
        "quantization.blocks[0]: missing component",
    ):
        assert fault in message


def test_golden_arrays_that_are_damaged(bundle: Path) -> None:
    """Golden arrays that are truncated, empty, of another file type or too few are refused."""
    file = bundle / GOLDEN
    intact = file.read_bytes()
    assert len(GoldenArrays.load(file, 2).logits) == 2
    with pytest.raises(BundleError, match="is damaged"):
        GoldenArrays.load(file, 3)
    middle = len(intact) // 2
    for content in (
        b"",
        b"PK",
        intact[:middle],
        intact[:100],
        b"\x93NUMPY",
        intact[:middle] + b"x" * 99 + intact[middle + 99 :],
    ):
        file.write_bytes(content)
        with pytest.raises(BundleError, match=f"{GOLDEN} is damaged"):
            GoldenArrays.load(file, 2)


def test_a_bundle_from_before_settings_were_added(bundle: Path, manifest: dict[str, Any]) -> None:
    """What an older f2edge did not write has the meaning that it had: Florence-2's own processing and search."""
    added = ("repetition_penalty", "min_length", "suppress_tokens", "bad_words_ids", "renormalize_logits")
    old = json.loads(json.dumps(manifest))
    del old["geometry"]["image_processing"]
    for name in added:
        del old["generation"][name]
    write(bundle, old)
    opened = open_bundle(bundle, check_hashes=False)
    assert opened.geometry.image_processing == ImageProcessing()
    assert opened.generation == GenerationSettings(max_new_tokens=opened.generation.max_new_tokens)
