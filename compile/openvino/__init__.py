"""Convert ONNX graphs to OpenVINO IR."""

from __future__ import annotations

import f2edge.runtimes.openvino  # noqa: F401 - imports OpenVINO without its telemetry
