"""Convert ONNX graphs to OpenVINO IR."""
