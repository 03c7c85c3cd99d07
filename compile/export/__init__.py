"""Trace the reference model to ONNX graphs."""
