"""Run a bundle with OpenVINO on CPUs, Intel GPUs and Intel NPUs.

OpenVINO is imported here first, so that all modules of f2edge get the one without telemetry.
"""

from __future__ import annotations

from contextlib import suppress

from f2edge.machine.telemetry import without_telemetry

with suppress(ImportError), without_telemetry():  # the modules of this folder say what is missing
    import openvino  # noqa: F401
