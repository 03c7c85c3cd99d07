"""Imports run one way, vendors are imported in their rooms only, and the edge side runs without the build side."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.command import f2edge_process

ROOMS = ("core", "annotate", "serve", "runtimes", "evaluation", "calibration", "quantize", "compile", "cli")
"""Each may import from those before it."""

VENDORS: dict[str, tuple[str, ...]] = {
    "torch": ("compile/checkpoint/", "compile/export/", "compile/reference/"),
    "safetensors": ("compile/checkpoint/",),
    "huggingface_hub": ("compile/checkpoint/",),
    "onnxscript": ("compile/export/",),
    "onnx": ("compile/", "quantize/"),
    "nncf": ("quantize/",),
    "openvino": ("compile/openvino/", "runtimes/openvino/"),
    "onnxruntime": ("runtimes/onnxruntime/",),
    "cuda": ("runtimes/tensorrt/",),
    "faster_coco_eval": ("evaluation/",),
    "rapidfuzz": ("evaluation/",),
    "shapely": ("evaluation/",),
    "sklearn": ("calibration/",),
    "av": ("core/video/container.py", "core/video/decoding.py"),
    "click": ("cli/",),
    "h11": ("serve/",),
    "prometheus_client": ("serve/",),
    "python_multipart": ("serve/",),
    "starlette": ("serve/",),
    "uvicorn": ("serve/",),
    "filelock": ("core/bundle/", "annotate/directory.py"),
    "pyarrow": ("annotate/",),
    "ray": ("annotate/cluster/",),
    "fsspec": ("annotate/stores.py",),
    "spacy": ("annotate/parsing.py",),
    "supervision": ("core/handover.py", "core/result.py"),
    "rich": ("cli/",),
    "jinja2": ("core/reporting/", "annotate/sheet.py"),
    "markupsafe": ("core/reporting/", "annotate/sheet.py"),
    "PyInstaller": ("core/freezing/",),
    "numpy": ("",),
    "PIL": ("",),
    "tokenizers": ("",),
}
"""The rooms that may import each package beyond Python's own; no other package may be imported."""

EXCEPTIONS = {("core/model.py", "f2edge.runtimes"), ("core/backbone.py", "f2edge.runtimes")}
"""``f2edge.load`` and ``f2edge.load_backbone`` are where the core meets the engines."""

BUILD_SIDE = ("torch", "onnx", "onnxscript", "nncf", "transformers", "safetensors", "huggingface_hub")
BLOCK = f"import sys\nfor name in {BUILD_SIDE}: sys.modules[name] = None\n"


def sources() -> dict[str, str]:
    """Return the text of every file of the package by its room and name, wherever the package is installed."""
    texts = {}
    for room in reversed(ROOMS):  # the core comes last: its folder holds those of cli and evaluation
        for folder in folders(room):
            known = [path for path in folder.rglob("*.py") if path not in texts.values()]
            texts.update({f"{room}/{path.relative_to(folder).as_posix()}": path for path in known})
    texts["cli/__main__.py"] = texts.pop("core/__main__.py")
    return {place: path.read_text("utf-8") for place, path in texts.items()}


def folders(room: str) -> list[Path]:
    """Return the folders of a room; the core is what is left of ``f2edge/`` without the others there."""
    spec = find_spec("f2edge" if room == "core" else f"f2edge.{room}")
    assert spec
    return [Path(folder) for folder in spec.submodule_search_locations or ()]


def imports(text: str) -> set[str]:
    """Return the modules that a file imports, anywhere in it; a name imported from a module may be a module, too."""
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def room_of(module: str) -> str:
    """Return the room that a module of f2edge is in."""
    name = module.split(".")[1] if "." in module else ""
    return name if name in ROOMS else "core"


def faults(place: str, text: str) -> list[str]:
    """Return the imports that go against the order of the rooms, or that import a package not allowed there."""
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


def module_graph(files: dict[str, str]) -> dict[str, set[str]]:
    """Return the modules that each module imports anywhere in its file, for types too."""
    modules = {module_name(place): imports(text) for place, text in files.items()}
    return {
        name: {known for module in wanted if (known := longest(module, modules))} for name, wanted in modules.items()
    }


def module_name(place: str) -> str:
    """Return the dotted name of a file: ``core/bundle/limits.py`` is ``f2edge.bundle.limits``."""
    parts = ["f2edge", *place.removeprefix("core/").removesuffix(".py").split("/")]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def longest(module: str, known: dict[str, set[str]]) -> str | None:
    """Return the module that an imported name belongs to, or None outside f2edge."""
    while module not in known and "." in module:
        module = module.rpartition(".")[0]
    return module if module in known else None


def test_no_import_cycle() -> None:
    """No module needs itself by way of others, through imports inside functions and for types included."""
    TopologicalSorter(module_graph(sources())).prepare()


def test_cycles_are_noticed() -> None:
    """A cycle of an import for types and one inside a function is noticed."""
    first = "if TYPE_CHECKING:\n    from f2edge.tasks.table import Task"
    second = "def f():\n    import f2edge.model"
    with pytest.raises(CycleError):
        TopologicalSorter(module_graph({"core/model.py": first, "core/tasks/table.py": second})).prepare()


def test_exceptions_are_needed() -> None:
    """Every exception is used; an unused one has to be removed."""
    files = sources()
    for place, module in EXCEPTIONS:
        assert any(imported.startswith(module) for imported in imports(files[place]))


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ("core/x.py", "def f():\n    from f2edge.runtimes import open_runtime"),
        ("core/x.py", "from f2edge import cli"),
        ("core/x.py", "import torch.nn as nn"),
        ("core/x.py", "import rich"),
        ("runtimes/x.py", "import f2edge.compile.build"),
        ("core/x.py", "import f2edge.serve.app"),
        ("serve/x.py", "import f2edge.runtimes"),
        ("runtimes/x.py", "import openvino"),
        ("evaluation/x.py", "import starlette"),
        ("compile/x.py", "import f2edge.cli"),
        ("compile/x.py", "import transformers"),
    ],
)
def test_violations_are_reported(place: str, text: str) -> None:
    """Each kind of forbidden import is reported once."""
    assert len(faults(place, text)) == 1


def test_importing_f2edge_imports_no_engine() -> None:
    """``import f2edge`` brings numpy, Pillow, tokenizers and filelock, no engine and nothing of the command line."""
    code = f"import f2edge, sys; print(set(sys.modules) & {set(VENDORS)}, file=sys.stderr); sys.exit()"
    assert ast.literal_eval(f2edge_process(first=code).stderr) == {"filelock", "numpy", "PIL", "tokenizers"}


def test_edge_side_without_the_build_side(tiny_bundle: Path, tiny_backbone: Path, tmp_path: Path) -> None:
    """Bundles answer, and check themselves, where torch, onnx and the other build packages are not installed."""
    picture = tmp_path / "grey.png"
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(picture)
    answered = f2edge_process("run", tiny_bundle, picture, "--task", "od", "--json", first=BLOCK)
    assert (answered.code, answered.stderr) == (0, "")
    assert "<OD>" in answered.json["result"]
    for bundle in (tiny_bundle, tiny_backbone):
        verified = f2edge_process("verify", bundle, "--json", first=BLOCK)
        assert verified.code == 0
        assert verified.json["passed"]
