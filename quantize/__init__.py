"""INT8 by NNCF, on the ONNX graphs that all engines share."""
