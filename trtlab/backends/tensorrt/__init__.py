"""TensorRT and TensorRT-RTX, one adaptor for both."""
