"""Which ONNX nodes became which layers of a plan: maps, kinds, and what they mean."""
