"""An application that PyInstaller has frozen answers, without any option of PyInstaller."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPLICATION = """
import sys
import f2edge
from PIL import Image

for bundle in sys.argv[1:]:
    result = f2edge.load(bundle).run(Image.new("RGB", (64, 64), "red"), "caption", max_new_tokens=4)
    print("answered", result.task)
"""
NOT_ON_A_DEVICE = ("docutils", "matplotlib", "nncf", "onnx", "onnxscript", "pytest", "scipy", "sphinx", "torch")
"""Packages of this environment that ONNX Runtime would bring along; a device has none of them."""


@pytest.mark.slow
def test_a_frozen_application_answers(tiny_bundle: Path, tiny_onnx_bundle: Path, tmp_path: Path) -> None:
    """The hooks of the installed package are enough for both engines.

    PyInstaller does not see a package that is installed in editable mode, so f2edge is installed as a user has it.
    """
    (tmp_path / "app.py").write_text(APPLICATION)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "site", ROOT]
    subprocess.run(install, check=True)  # noqa: S603
    freeze = [sys.executable, "-m", "PyInstaller", "--onedir", "app.py"]
    freeze += [word for name in NOT_ON_A_DEVICE for word in ("--exclude-module", name)]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    frozen = subprocess.run(freeze, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    assert frozen.returncode == 0, frozen.stderr[-2000:]
    app = tmp_path / "dist" / "app" / "app"
    answer = subprocess.run([app, tiny_bundle, tiny_onnx_bundle], capture_output=True, text=True, check=False)  # noqa: S603
    assert answer.stdout == 2 * "answered <CAPTION>\n", answer.stderr
