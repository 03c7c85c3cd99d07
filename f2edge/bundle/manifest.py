"""The bundle: a directory with a manifest, all that a device needs to run one model.

The build side ends in one, the edge side begins with one.  ``manifest.json`` names every file with its SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_type_hints

from f2edge.bundle.golden import GoldenCase
from f2edge.bundle.levels import FeatureMaps
from f2edge.bundle.limits import Limits
from f2edge.bundle.quantization import Quantization
from f2edge.bundle.schema import SchemaError, parse_all
from f2edge.bundle.verified import Verified
from f2edge.bundle.writing import MANIFEST, whole_file
from f2edge.decoding.settings import MAX_NUM_BEAMS, GenerationSettings
from f2edge.errors import BundleError, InputError
from f2edge.geometry import Geometry, image_faults, size_faults
from f2edge.lines import shown
from f2edge.paths import is_file, is_link
from f2edge.targets import Compute, Precision
from f2edge.tasks.confidence import Calibration
from f2edge.tasks.table import TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping

Graph: TypeAlias = Literal["answers", "backbone"]
"""What a bundle gives."""
FORMAT_VERSION = 2
COMPONENTS = ("vision", "encoder", "decoder")
"""The components of a bundle that answers."""
BACKBONE = "backbone"
"""The component of a bundle that gives feature maps instead."""
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.npz"
_MANIFEST_LIMIT = 16 * 2**20


@dataclass(frozen=True)
class Component:
    """One graph: its main file, and the SHA-256 of that and of the files it needs beside it.

    ``compute`` is for processors; GPUs and NPUs have a way of their own.
    """

    name: str
    file: str
    precision: Precision
    sha256: dict[str, str]
    compute: Compute = "fp32"


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that was merged into the weights: its name, its weight, and the SHA-256 of its files."""

    name: str
    weight: float
    sha256: dict[str, str]


@dataclass(frozen=True)
class Recipe:
    """The request: name of the checkpoint, target, precision of each component, and fixed shapes if any.

    ``calibrated`` tells whether INT8 was calibrated on pictures: if not, the device rounds activations as they come.
    It is None without INT8, and in bundles from before it was recorded, which all were calibrated.  ``adapters`` were
    merged into the weights of the checkpoint.
    """

    checkpoint: str
    target: str
    runtime: str
    device: str
    precision: dict[str, Precision]
    static_shapes: Limits | None = None
    calibrated: bool | None = None
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose manifest and files are in order.

    ``verified`` holds what ``verify`` measured on the machine that compiled it, ``quantization`` what was measured of
    INT8 there, if anything, and ``confidence`` the calibration of the confidences of each task that has one.  Only a
    bundle that is being compiled is not verified yet: without the record other devices would not know how large an
    error of INT8 is right, so a manifest that lacks it is refused.

    ``backbone`` describes the maps of a bundle that gives feature maps instead of answers; its one component is
    ``backbone``, and it has no tokenizer and no golden cases.  It is None for all others.
    """

    path: Path
    geometry: Geometry
    generation: GenerationSettings
    recipe: Recipe
    components: dict[str, Component]
    files: dict[str, str]
    tools: dict[str, str]
    golden: tuple[GoldenCase, ...]
    verified: Verified | None = None
    quantization: Quantization | None = None
    confidence: dict[str, Calibration] = field(default_factory=dict)
    backbone: FeatureMaps | None = None

    @property
    def graph(self) -> Graph:
        """Whether the bundle gives answers, or the feature maps of a backbone."""
        return "backbone" if self.backbone else "answers"

    @property
    def checked_parts(self) -> tuple[str, ...]:
        """The names of the components, or of the levels of a backbone, which ``verify`` compares."""
        return self.backbone.names if self.backbone else COMPONENTS

    def file(self, component: str) -> Path:
        """The main file of a component."""
        return self.path / self.components[component].file

    @property
    def limits(self) -> Limits:
        """The most beams, prompt tokens and new tokens that a question may have."""
        geometry = self.geometry
        room = Limits(MAX_NUM_BEAMS, geometry.max_prompt_tokens, geometry.decoder_positions)
        return self.recipe.static_shapes or room

    @property
    def size_bytes(self) -> int:
        """Size of all files of the bundle, the manifest included."""
        return sum((self.path / name).stat().st_size for name in (*self.hashes(), MANIFEST))

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file but the manifest."""
        return {**self.files, **{k: v for c in self.components.values() for k, v in c.sha256.items()}}

    def to_json(self) -> dict[str, Any]:
        """The manifest."""
        return {
            "format_version": FORMAT_VERSION,
            "geometry": self.geometry.to_json(),
            "generation": asdict(self.generation),
            "recipe": asdict(self.recipe),
            "components": {name: asdict(c) for name, c in self.components.items()},
            "files": self.files,
            "tools": self.tools,
            "golden": [asdict(case) for case in self.golden],
            "verified": self.verified.to_json() if self.verified else {},
            "quantization": self.quantization.to_json() if self.quantization else {},
            "confidence": {task: asdict(one) for task, one in self.confidence.items()},
            **({"backbone": asdict(self.backbone)} if self.backbone else {}),
        }

    def write_manifest(self) -> None:
        """Write ``manifest.json`` into the bundle's directory, whole or not at all."""
        text = json.dumps(self.to_json(), indent=2)
        with whole_file(self.path / MANIFEST) as partial:
            partial.write_text(text + "\n", encoding="utf-8")


def open_bundle(path: str | PathLike[str], *, check_hashes: bool = True) -> Bundle:
    """Read and check a bundle.

    Args:
        path: its directory.
        check_hashes: compare every file with its SHA-256 in the manifest.

    Raises:
        BundleError: not a bundle, an unknown version, or files that are missing, changed or outside; all of them named.
        InputError: ``path`` is no path.
    """
    if not isinstance(path, (str, PathLike)):
        raise InputError(f"`path` is {shown(path)}; give the directory of a bundle")
    directory = Path(path)
    manifest = _read_manifest(directory)
    try:
        bundle = _parse(directory, manifest)
    except SchemaError as error:
        raise BundleError(f"{directory / MANIFEST} is damaged ({error}); compile the bundle again") from error
    faults = _faults(bundle, check_hashes=check_hashes)
    if faults:
        raise BundleError(f"{directory}: {'; '.join(faults)}; compile or copy the bundle again")
    return bundle


_GIVEN: dict[Graph, str] = {
    "answers": "answers; open it with f2edge.load, or compile its checkpoint again as a backbone",
    "backbone": "feature maps; open it with f2edge.load_backbone, or compile its checkpoint again for answers",
}


def open_graph(path: str | PathLike[str], graph: Graph, *, check_hashes: bool = True) -> Bundle:
    """Read and check a bundle that must give answers, or feature maps.

    Args:
        path: its directory.
        graph: what it must give.
        check_hashes: as for :func:`open_bundle`.

    Raises:
        BundleError: as for :func:`open_bundle`, or it gives the other.
        InputError: ``path`` is no path.
    """
    bundle = open_bundle(path, check_hashes=check_hashes)
    if bundle.graph != graph:
        raise BundleError(f"{bundle.path} gives {_GIVEN[bundle.graph]}")
    return bundle


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_manifest(directory: Path) -> Mapping[str, Any]:
    path = directory / MANIFEST
    if not is_file(path):
        raise BundleError(f"{directory} is not a bundle: it has no {MANIFEST}; make one with f2edge compile")
    if path.stat().st_size > _MANIFEST_LIMIT:
        raise BundleError(f"{path} is too large to be a manifest")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read ({error}); compile the bundle again") from error
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION or version is True:
        raise BundleError(
            f"{path} has format version {version}, this f2edge reads {FORMAT_VERSION}; "
            "compile the bundle again or install the matching f2edge"
        )
    return manifest  # type: ignore[no-any-return]


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; of two with the same name, JSON readers take the last one in silence."""
    values = dict(members)
    if len(values) < len(members):
        twice = next(name for name in values if sum(other == name for other, _ in members) > 1)
        raise ValueError(f"{twice!r:.60} is there twice")
    return values


def _parse(directory: Path, manifest: Mapping[str, Any]) -> Bundle:
    kinds = {**get_type_hints(Bundle), "verified": Verified, "quantization": Quantization, "backbone": FeatureMaps}
    del kinds["path"]
    if manifest.get("quantization", {}) == {}:
        del kinds["quantization"]
    for name in ("confidence", "backbone"):  # bundles from before there were any have none
        if name not in manifest:
            del kinds[name]
    known = [name for name in kinds if name in manifest]
    missing = [f"it lacks {name}" for name in kinds if name not in manifest]
    values = parse_all([(kinds[name], manifest[name], name) for name in known], missing)
    bundle = Bundle(directory, **dict(zip(known, values, strict=True)))
    if faults := _impossible(bundle):
        raise SchemaError(faults)
    return bundle


def _impossible(bundle: Bundle) -> list[str]:
    """Values of the right types that no model has."""
    geometry, settings = bundle.geometry, bundle.generation
    if faults := size_faults(geometry) or image_faults(geometry):
        return [f"geometry: {fault}" for fault in faults]
    faults = [f"generation: {fault}" for fault in settings.beyond(geometry.vocab_size)]
    if shapes := bundle.recipe.static_shapes:
        faults += [f"static_shapes: {fault}" for fault in shapes.faults(geometry)]
    if bundle.recipe.calibrated is not None and "int8" not in bundle.recipe.precision.values():
        faults.append("recipe: calibrated is for INT8, and nothing is in INT8")
    faults += [
        f"recipe: the weight of adapter {adapter.name!r:.60} is {adapter.weight}"
        for adapter in bundle.recipe.adapters
        if not isfinite(adapter.weight)
    ]
    if settings.max_new_tokens > (limit := bundle.limits.new_tokens):
        faults.append(f"generation: max_new_tokens is {settings.max_new_tokens}, and the model takes 1 to {limit}")
    if bundle.backbone:
        faults += [f"backbone: {fault}" for fault in bundle.backbone.faults(geometry.vision)]
    faults += [f"golden[{i}]: {fault}" for i, case in enumerate(bundle.golden) for fault in case.faults(geometry)]
    return faults + _wrong_records(bundle)


def _wrong_records(bundle: Bundle) -> list[str]:
    """List measurements that are impossible."""
    verified, quantization = bundle.verified, bundle.quantization
    faults = verified.faults(bundle.checked_parts, len(bundle.golden)) if verified else []
    faults = [f"verified: {fault}" for fault in faults]
    faults += [f"quantization: {fault}" for fault in (quantization.faults(COMPONENTS) if quantization else [])]
    faults += [f"confidence: {task!r:.60} is no task" for task in bundle.confidence if task not in TASKS]
    return faults + [f"confidence.{task}: {fault}" for task, one in bundle.confidence.items() for fault in one.faults()]


def _faults(bundle: Bundle, *, check_hashes: bool) -> list[str]:
    faults = [*_gaps(bundle)]
    for name, expected in bundle.hashes().items():
        path = bundle.path / name
        if Path(name).name != name or is_link(path):
            faults.append(f"{name} leads out of the bundle")
        elif not is_file(path):
            faults.append(f"{name} is missing")
        elif check_hashes and sha256(path) != expected:
            faults.append(f"{name} has changed since it was compiled")
    return faults


def _gaps(bundle: Bundle) -> list[str]:
    """List what is missing in a manifest whose values have the right types."""
    components, backbone = bundle.components, bundle.backbone is not None
    expected, files = ((BACKBONE,), (GOLDEN,)) if backbone else (COMPONENTS, (TOKENIZER, GOLDEN))
    faults = [f"there is no component {name}" for name in expected if name not in components]
    faults += [f"component {name} is called {c.name}" for name, c in components.items() if c.name != name]
    faults += [f"component {name} is not known" for name in components if name not in expected]
    faults += [f"component {name} has no file of its own" for name, c in components.items() if c.file not in c.sha256]
    faults += [f"there is no {name}" for name in files if name not in bundle.files]
    faults += [f"{name} has two hashes in the manifest" for name in _ambiguous(bundle)]
    if backbone == bool(bundle.golden):
        faults.append("a backbone answers no golden cases" if backbone else "there are no golden cases")
    return faults


def _ambiguous(bundle: Bundle) -> list[str]:
    """List the files that have different hashes in different parts of the manifest."""
    hashes = defaultdict[str, set[str]](set)
    for part in (bundle.files, *(component.sha256 for component in bundle.components.values())):
        for name, value in part.items():
            hashes[name].add(value)
    return [name for name, values in hashes.items() if len(values) > 1]
