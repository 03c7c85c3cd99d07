"""What PyInstaller cannot see in f2edge: engines are imported by their names, files are read, versions looked up."""  # noqa: N999

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError

from PyInstaller.utils.hooks import collect_data_files, copy_metadata

hiddenimports = [
    "f2edge.runtimes.onnxruntime.backbone",
    "f2edge.runtimes.onnxruntime.runtime",
    "f2edge.runtimes.openvino.backbone",
    "f2edge.runtimes.openvino.runtime",
    "f2edge.runtimes.tensorrt.runtime",
]
datas = collect_data_files("f2edge")
for package in ("f2edge", "openvino", "onnxruntime"):  # the verdict of a self-check belongs to their versions
    with suppress(PackageNotFoundError):
        datas += copy_metadata(package)
