"""Two engines held against each other, by the ONNX nodes in their layers."""
