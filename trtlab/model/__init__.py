"""What a model is: its file, its IO tensors and its graph without weight values.

``types`` holds the records and imports neither onnx nor NumPy; the other modules run native code
and are meant for a worker process.
"""
