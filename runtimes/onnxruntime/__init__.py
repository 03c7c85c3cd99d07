"""Run a bundle with ONNX Runtime, the portable engine, on CPUs and NVIDIA GPUs.

ONNX Runtime is imported here first, so that all modules of f2edge get the one without telemetry.
"""

from __future__ import annotations

from contextlib import suppress

from f2edge.machine.telemetry import without_telemetry

with suppress(ImportError), without_telemetry():  # the module of the runtime says what is missing
    import onnxruntime as ort

    ort.disable_telemetry_events()  # for an application that has imported it earlier
