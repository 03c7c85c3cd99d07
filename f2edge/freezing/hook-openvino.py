"""What PyInstaller cannot see in OpenVINO: its libraries, which load one another by their names."""  # noqa: N999

from __future__ import annotations

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs

binaries = collect_dynamic_libs("openvino")
datas = collect_data_files("openvino", subdir="libs")
# Its converters import these inside of functions.  An application that converts models with them imports them itself.
excludedimports = ["jax", "keras", "nncf", "onnx", "paddle", "tensorflow", "torch", "torchvision", "transformers"]
