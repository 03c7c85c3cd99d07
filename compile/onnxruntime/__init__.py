"""Graphs for ONNX Runtime: Q/DQ nodes become the operators that it has fast kernels for (docs/onnxruntime-int8.md)."""
