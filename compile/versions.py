"""The versions of the tools that a bundle is made with."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_TOOLS = (
    *("f2edge", "torch", "onnx", "nncf", "onnxscript", "openvino", "onnxruntime", "numpy", "tokenizers"),
    *("onnxruntime-gpu", "tensorrt-rtx-cu13"),
)


def tool_versions() -> dict[str, str]:
    """Return the versions of the tools that are installed."""
    versions = {}
    for tool in _TOOLS:
        try:
            versions[tool] = version(tool)
        except PackageNotFoundError:
            continue
    return versions
