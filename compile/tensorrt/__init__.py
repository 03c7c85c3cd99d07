"""Convert ONNX graphs for TensorRT, or to engines of TensorRT for RTX."""
