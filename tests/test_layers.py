"""Imports run one way, vendors stay in their place, and the edge runs without the build side's packages."""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from command import f2edge_process
from PIL import Image

ROOMS = ("core", "runtimes", "evaluation", "calibration", "quantize", "compile", "cli")
"""Each may import from those before it."""

VENDORS: dict[str, tuple[str, ...]] = {
    "torch": ("compile/",),
    "safetensors": ("compile/",),
    "huggingface_hub": ("compile/",),
    "onnxscript": ("compile/",),
    "onnx": ("compile/", "quantize/"),
    "nncf": ("quantize/",),
    "openvino": ("runtimes/openvino", "compile/openvino", "compile/stateful.py"),
    "onnxruntime": ("runtimes/onnxruntime.py", "calibration/"),
    "cuda": ("runtimes/cuda.py",),
    "faster_coco_eval": ("evaluation/detection.py",),
    "rapidfuzz": ("evaluation/texts.py",),
    "shapely": ("evaluation/overlap.py",),
    "click": ("cli/",),
    "filelock": ("core/user_cache.py",),
    "rich": ("cli/",),
    "numpy": ("",),
    "PIL": ("",),
    "tokenizers": ("",),
}
"""Where each package beyond Python's own may be imported; others nowhere."""

EXCEPTIONS = {("core/model.py", "f2edge.runtimes")}
"""``f2edge.load`` is the one place where the core meets the engines."""

BUILD_SIDE = ("torch", "onnx", "onnxscript", "nncf", "transformers", "safetensors", "huggingface_hub")
BLOCK = f"import sys\nfor name in {BUILD_SIDE}: sys.modules[name] = None\n"


def sources() -> dict[str, str]:
    """The text of every file of the package by its room and name, wherever it is installed."""
    found = {}
    for room in ROOMS:
        spec = find_spec("f2edge" if room == "core" else f"f2edge.{room}")
        assert spec
        assert spec.submodule_search_locations
        folder = Path(spec.submodule_search_locations[0])
        paths = folder.glob("*.py") if room == "core" else folder.rglob("*.py")
        found.update({f"{room}/{path.relative_to(folder).as_posix()}": path.read_text("utf-8") for path in paths})
    found["cli/__main__.py"] = found.pop("core/__main__.py")
    return found


def imports(text: str) -> set[str]:
    """The modules that a file imports, anywhere in it; a name taken from one may be a module, too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(module: str) -> str:
    """The room that a module of f2edge is in."""
    name = module.split(".")[1] if "." in module else ""
    return name if name in ROOMS else "core"


def faults(place: str, text: str) -> list[str]:
    """Imports against the order of the rooms, or of a package that has no business there."""
    wrong = []
    for module in imports(text):
        package = module.split(".")[0]
        if package == "f2edge":
            backwards = ROOMS.index(room_of(module)) > ROOMS.index(place.split("/", maxsplit=1)[0])
            excused = any(place == where and module.startswith(what) for where, what in EXCEPTIONS)
            wrong += [f"{place} imports {module}"] * (backwards and not excused)
        elif package not in sys.stdlib_module_names and not place.startswith(VENDORS.get(package, ())):
            wrong.append(f"{place} imports {module}")
    return wrong


def test_imports_run_one_way() -> None:
    """No file imports from a room after its own, and packages are where they may be."""
    files = sources()
    assert {place.split("/")[0] for place in files} == set(ROOMS)
    assert len(files) > 50
    assert [fault for place, text in files.items() for fault in faults(place, text)] == []


def test_exceptions_are_needed() -> None:
    """An exception that nothing uses is taken out."""
    files = sources()
    for place, module in EXCEPTIONS:
        assert any(found.startswith(module) for found in imports(files[place]))


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("core/x.py", "def f():\n    from f2edge.runtimes import open_runtime"),
        ("core/x.py", "from f2edge import cli"),
        ("core/x.py", "import torch.nn as nn"),
        ("core/x.py", "import rich"),
        ("runtimes/x.py", "import f2edge.compile.build"),
        ("runtimes/x.py", "import openvino"),
        ("compile/x.py", "import f2edge.cli"),
        ("compile/x.py", "import transformers"),
    ],
)
def test_rules_bite(place: str, text: str) -> None:
    """The rules find what they are there for."""
    assert len(faults(place, text)) == 1


def test_nothing_works_at_import_time() -> None:
    """``import f2edge`` brings numpy, Pillow, tokenizers and filelock, no engine and nothing of the command line."""
    code = f"import f2edge, sys; print(set(sys.modules) & {set(VENDORS)}, file=sys.stderr); sys.exit()"
    assert ast.literal_eval(f2edge_process(first=code).stderr) == {"filelock", "numpy", "PIL", "tokenizers"}


def test_edge_side_without_the_build_side(tiny_bundle: Path, tmp_path: Path) -> None:
    """A bundle answers, and checks itself, where torch, onnx and the like are not installed."""
    picture = tmp_path / "grey.png"
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(picture)
    answered = f2edge_process("run", tiny_bundle, picture, "--task", "od", "--json", first=BLOCK)
    assert (answered.code, answered.stderr) == (0, "")
    assert "<OD>" in answered.json["result"]
    verified = f2edge_process("verify", tiny_bundle, "--json", first=BLOCK)
    assert verified.code == 0
    assert verified.json["passed"]
