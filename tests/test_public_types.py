"""The public API is typed: a user's program passes mypy in strict mode, without a cast."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "typed" / "user_program.py"
ROOMS = ("", ".calibration", ".compile", ".quantize", ".runtimes")

CONFIG = """
[mypy]
strict = true
python_version = 3.10
follow_imports = silent
[mypy-torch.*,onnx.*,onnxruntime.*,onnxscript.*,nncf.*,openvino.*,safetensors.*,cuda.*,supervision.*,tensorrt.*,tokenizers.*]
follow_imports = skip
ignore_missing_imports = true
"""
"""``silent``, because a user's checker reports no errors of installed packages; ``skip``, to save time on vendors."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the package as it looks when installed; mypy does not follow an editable install's map of folders."""
    root = tmp_path_factory.mktemp("installed")
    for room in ROOMS:
        spec = find_spec(f"f2edge{room}")
        assert spec
        assert spec.submodule_search_locations
        target = root / f"f2edge{room}".replace(".", "/")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(spec.submodule_search_locations[0], target, dirs_exist_ok=True, ignore=ignored)
    (root / "mypy.ini").write_text(CONFIG)
    return root


def check(installed: Path, *programs: Path) -> str:
    """Return what mypy prints about programs that import the package."""
    options = ["--config-file", installed / "mypy.ini", "--cache-dir", installed / "cache", "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, *programs]
    done = subprocess.run(  # noqa: S603
        command,
        check=False,
        capture_output=True,
        text=True,
        cwd=installed,
        env={**os.environ, "MYPYPATH": str(installed)},
    )
    return done.stdout + done.stderr


def test_the_package_says_that_it_is_typed(installed: Path) -> None:
    """The package has ``py.typed``; without it, a checker takes all its names for Any."""
    assert (installed / "f2edge" / "py.typed").is_file()


def test_a_users_program_type_checks(installed: Path) -> None:
    """Correct lines pass, marked mistakes are errors, and no type is Any."""
    assert check(installed, PROGRAM) == ""


def test_the_examples_type_check(installed: Path) -> None:
    """The examples are users' programs, too, and pass the type check."""
    programs = sorted((HERE.parent / "examples").glob("*.py"))
    assert programs
    assert check(installed, *programs) == ""


def test_mistakes_are_noticed(installed: Path, tmp_path: Path) -> None:
    """If its marks are removed, the program has one error for each of them."""
    lines = [line.partition("  # type: ignore")[0] for line in PROGRAM.read_text().splitlines()]
    marked = PROGRAM.read_text().count("  # type: ignore[")
    program = tmp_path / PROGRAM.name
    program.write_text("\n".join(lines))
    places = {line.split(" error: ")[0] for line in check(installed, program).splitlines() if " error: " in line}
    assert len(places) == marked > 5
