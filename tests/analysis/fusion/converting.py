"""Networks at other precisions, as onnxruntime's own tools convert them; nothing of trtlab's."""

import warnings

import numpy as np


def fp16(source, target):
    """FP16 but for inputs and outputs and what the library's own list keeps in FP32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that FP16 cannot hold
        model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
    OnnxModel.graph_topological_sort(model.graph)  # it appends the casts of the inputs
    onnx.save(model, target)


def int8(source, target):
    """Q/DQ of symmetric INT8, weights per channel, ranges from two random samples."""
    import onnxruntime.quantization as ort
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    ort.quantize_static(
        prepared,
        target,
        _Samples(prepared),
        quant_format=ort.QuantFormat.QDQ,
        activation_type=ort.QuantType.QInt8,
        weight_type=ort.QuantType.QInt8,
        per_channel=True,
        calibrate_method=ort.CalibrationMethod.MinMax,
        extra_options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
        },
    )


class _Samples:
    """What ``quantize_static`` reads: one batch of two random samples."""

    def __init__(self, model):
        import onnx

        put = onnx.load(model).graph.input[0]
        shape = [dim.dim_value or 2 for dim in put.type.tensor_type.shape.dim]
        batch = np.random.default_rng(0).random(shape, dtype=np.float32)
        self.batches = iter([{put.name: batch}])

    def get_next(self):
        return next(self.batches, None)
