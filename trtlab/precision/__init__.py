"""Precision as a rewritten graph: ONNX → strongly typed ONNX, and the calibration behind it."""
