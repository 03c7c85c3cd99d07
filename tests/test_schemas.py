"""The schemas that the package ships: sound, described throughout, and in step with the records that they describe."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from f2edge.bench import STAGES
from f2edge.bundle.golden import GoldenCase
from f2edge.bundle.levels import FeatureMaps, Level
from f2edge.bundle.limits import Limits
from f2edge.bundle.manifest import BACKBONE, COMPONENTS, FORMAT_VERSION, Component, Recipe, open_bundle
from f2edge.bundle.quantization import Block, MeasuredMix, Quantization
from f2edge.bundle.verified import Verified, VerifiedAnswer, VerifiedComponent
from f2edge.decoding.settings import GenerationSettings
from f2edge.errors import BundleError
from f2edge.evaluation.reliability import Bin, Reliability, Threshold
from f2edge.evaluation.samples import Note
from f2edge.evaluation.scores import Agreement
from f2edge.geometry import Geometry, VisionGeometry
from f2edge.processing import ImageProcessing
from f2edge.runtimes import Device
from f2edge.targets import TARGETS, Target
from f2edge.tasks.confidence import Calibration
from f2edge.tasks.table import TASKS
from tests.support import schemas
from tests.support.manifests import QUANTIZATION, paths, replaced
from tests.support.results import result_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent

RECORDS = {
    "manifest#/$defs/geometry": Geometry,
    "manifest#/$defs/vision": VisionGeometry,
    "manifest#/$defs/image_processing": ImageProcessing,
    "manifest#/$defs/generation": GenerationSettings,
    "manifest#/$defs/recipe": Recipe,
    "manifest#/$defs/limits": Limits,
    "manifest#/$defs/component": Component,
    "manifest#/$defs/golden_case": GoldenCase,
    "manifest#/$defs/quantization": Quantization,
    "manifest#/$defs/feature_maps": FeatureMaps,
    "manifest#/$defs/level": Level,
    "manifest#/$defs/block": Block,
    "manifest#/$defs/mix": MeasuredMix,
    "manifest#/$defs/calibration": Calibration,
    "verify#": Verified,
    "verify#/$defs/component": VerifiedComponent,
    "verify#/$defs/answer": VerifiedAnswer,
    "eval#/$defs/agreement": Agreement,
}
"""Schemas of records, each with the record."""

WRITTEN_WHOLE = {
    "devices#/items": (Device, {"target", "precision"}),
    "targets#/items": (Target, set[str]()),
    "eval#/$defs/note": (Note, set[str]()),
    "eval#/$defs/reliability": (Reliability, set[str]()),
    "eval#/$defs/bin": (Bin, set[str]()),
    "eval#/$defs/threshold": (Threshold, set[str]()),
}
"""Schemas of records whose defaults are written, too, each with the record and the fields beyond it."""


def part(place: str) -> Any:
    """Return a part of a schema."""
    name, _, pointer = place.partition("#")
    schema = schemas.read(name)
    for key in pointer.split("/")[1:]:
        schema = schema[key]
    return schema


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas in it."""
    yield schema
    for inner in (*schemas.inner(schema), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())):
        yield from parts(inner)


@pytest.mark.parametrize("name", schemas.names())
def test_schemas_are_sound(name: str) -> None:
    """Each is a schema of draft 2020-12 that is named like its file, and refers to nothing outside the package."""
    schema = schemas.read(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert schema["$id"] == f"{name}.schema.json"
    references = [inner["$ref"] for inner in parts(schema) if "$ref" in inner]
    for file, pointer in (reference.split("#") if "#" in reference else (reference, "") for reference in references):
        assert part(f"{file.removesuffix('.schema.json') or name}#{pointer}")


@pytest.mark.parametrize("name", schemas.names())
def test_everything_is_described(name: str) -> None:
    """Each property, each definition and the whole have a description, of their own or by reference."""
    schema = schemas.read(name)
    assert schema["title"]
    assert schema["description"]
    for place in parts(schema):
        own = {**place.get("properties", {}), **place.get("$defs", {})}
        values = {key: value for key, value in own.items() if value.keys() & {"type", "enum", "const", "$ref", "anyOf"}}
        assert [key for key, value in values.items() if not value.keys() & {"description", "$ref", "const"}] == []


@pytest.mark.parametrize("place", RECORDS)
def test_records_are_described_whole(place: str) -> None:
    """A schema has the fields of its record, and requires those without a default."""
    schema, record = part(place), RECORDS[place]
    assert list(schema["properties"]) == [field.name for field in fields(record)]
    needed = [field.name for field in fields(record) if field.default is field.default_factory is MISSING]
    nothing, something = schema.get("anyOf", [{"maxProperties": 0}, schema])  # a record that may be empty
    assert nothing == {"maxProperties": 0}
    assert something.get("required", []) == needed


@pytest.mark.parametrize("place", RECORDS)
def test_defaults_are_those_of_the_record(place: str) -> None:
    """A default that a schema names is the one that a manifest without the field has."""
    defaults = {key: value["default"] for key, value in part(place)["properties"].items() if "default" in value}
    own = {field.name: field.default for field in fields(RECORDS[place]) if field.name in defaults}
    assert defaults == {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}


@pytest.mark.parametrize("place", WRITTEN_WHOLE)
def test_lists_are_described_whole(place: str) -> None:
    """A schema of something that is always written whole requires all of its fields."""
    record, more = WRITTEN_WHOLE[place]
    assert set(part(place)["properties"]) == {field.name for field in fields(record)} | more
    assert sorted(part(place)["required"]) == sorted(part(place)["properties"])


def test_names_are_those_of_the_code() -> None:
    """Tasks, stages, components, engines and the version of the format are those of the code."""
    assert set(part("run#/$defs/answers/properties")) == {"", *TASKS}
    report = part("bench#/$defs/report/properties")
    assert set(report["stages_ms"]["properties"]) == set(STAGES)
    optional = {"first_token", "per_token", "second_question"}
    of_answers = part("bench#/$defs/report/else/properties/samples_ms/required")
    assert set(STAGES) - {*report["samples_ms"]["required"], *of_answers} == optional
    assert set(part("manifest#/properties/components/properties")) == {*COMPONENTS, BACKBONE}
    assert part("manifest#/else/properties/components/required") == list(COMPONENTS)
    assert part("manifest#/then/properties/components/required") == [BACKBONE]
    assert part("manifest#/$defs/component_name/enum") == list(COMPONENTS)
    assert set(part("manifest#/$defs/runtime/examples")) == {target.runtime for target in TARGETS.values()}
    assert part("manifest#/properties/format_version/const") == FORMAT_VERSION


def test_the_page_lists_the_fields_of_run() -> None:
    """The table of docs/json.md has the fields of a line of ``run --json``, in their order, and links every schema."""
    page = (ROOT / "docs" / "json.md").read_text("utf-8")
    table = page.split("## Fields of run")[1].split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == ["image", *part("run#/$defs/result/properties")]
    assert sorted(re.findall(r"^\| \[`(\w+)\.schema\.json`\]", page, re.MULTILINE)) == schemas.names()


def test_later_fields_are_for_users() -> None:
    """A field that the schema does not know is one of a later version to users, and a fault to the tests."""
    line = {"image": "x.png", **result_of("od", "</s>", "cat", *["<loc_1>"] * 4, "</s>").to_json()}
    stages = part("run#/properties/timings_ms/required")
    line["timings_ms"] = dict.fromkeys(stages, 1.0)
    schemas.check("run", line)
    for place in ((), ("timings_ms",), ("result", "<OD>")):
        later = json.loads(json.dumps(line))
        target = later
        for key in place:
            target = target[key]
        target["later"] = 1
        schemas.validator("run", strict=False).validate(later)
        with pytest.raises(ValidationError, match="later"):
            schemas.check("run", later)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle, which a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture
def manifest(bundle: Path) -> dict[str, Any]:
    """Return the manifest of the copy, with all that can be recorded."""
    known = json.loads((bundle / "manifest.json").read_text())
    known["recipe"]["static_shapes"] = {"num_beams": 3, "prompt_tokens": 60, "new_tokens": 80}
    return {**known, "quantization": QUANTIZATION}


RELATIONS = (
    "a tower of 3 or 4 stages",
    "has no file of its own",
    "the model takes 1 to 80",
    "its answers are not those of the golden cases",
    "not exactly one of its mixes is the chosen one",
    "there is no component",
    "int8 does not list blocks, each once",
    "int8_blocks is",
    "loss is None",
    "two of its blocks have the same name",
    "more than all operations",
    "dB",
)
"""Faults of several values together, which no schema can say, in the words of f2edge's errors."""

OF_LEVELS = ("is not one of stage", "its stages are", "its components are")
"""The same of backbones: an entry that is not what the tower gives, or a level that was not verified."""

BOUNDED = ("num_beams", "operations", "budget", "int8_blocks", "milliseconds")
"""Measurements that are never negative, which f2edge reads as they are and decides nothing by."""


def refusal(bundle: Path, manifest: dict[str, Any]) -> str:
    """Return why f2edge refuses a bundle with this manifest; empty if it opens the bundle."""
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    try:
        open_bundle(bundle, check_hashes=False)
    except BundleError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", [None, "x", -1, ...], ids=str)
def test_the_manifest_schema_agrees_with_f2edge(value: Any, bundle: Path, manifest: dict[str, Any]) -> None:
    """If any value is replaced or removed, the schema refuses the manifest if and only if f2edge does."""
    check_agreement(bundle, manifest, value, RELATIONS)


@pytest.mark.parametrize("value", [None, "x", -1, ...], ids=str)
def test_the_manifest_schema_agrees_about_backbones(value: Any, tiny_backbone: Path, tmp_path: Path) -> None:
    """The same for the manifest of a backbone, of open size and of a fixed one."""
    bundle = shutil.copytree(tiny_backbone, tmp_path / "bundle")
    manifest = json.loads((bundle / "manifest.json").read_text())
    for size in (None, [96, 64]):
        manifest["backbone"]["image_size"] = size
        check_agreement(bundle, manifest, value, (*RELATIONS, *OF_LEVELS))


def check_agreement(bundle: Path, manifest: dict[str, Any], value: Any, relations: tuple[str, ...]) -> None:
    """Replace each value of a manifest; the schema must say of each what f2edge does."""
    validator = schemas.validator("manifest", strict=False)
    assert validator.is_valid(manifest)
    assert refusal(bundle, manifest) == ""
    for path in paths(manifest):
        changed = replaced(manifest, path, value)
        why = refusal(bundle, changed)
        if validator.is_valid(changed):
            assert not why or any(relation in why for relation in relations), (path, why)
        else:
            assert why or path[0] == "files" or "sha256" in path or path[-1] in BOUNDED, path
