"""Operators that lose too much in 16 or 8 bits, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_RANGE = "exponentials: they need more range or bits than 16"
_SUM = "a sum over many elements: needs FP32 to hold it"
_NORM = "a normalisation: its variance is a sum of squares"
_POWER = "powers: they leave narrow ranges early, and lose bits"

FRAGILE: Mapping[str, str] = MappingProxyType(
    {
        "Softmax": _RANGE,
        "LogSoftmax": _RANGE,
        "Exp": _RANGE,
        "Softplus": _RANGE,
        "Sinh": _RANGE,
        "Cosh": _RANGE,
        "Pow": _POWER,
        "LayerNormalization": _NORM,
        "RMSNormalization": _NORM,
        "GroupNormalization": _NORM,
        "InstanceNormalization": _NORM,
        "MeanVarianceNormalization": _NORM,
        "LpNormalization": _NORM,
        "ReduceSum": _SUM,
        "ReduceMean": _SUM,
        "ReduceProd": _SUM,
        "ReduceL1": _SUM,
        "ReduceL2": _SUM,
        "ReduceSumSquare": _SUM,
        "ReduceLogSum": _SUM,
        "ReduceLogSumExp": _SUM,
        "CumSum": _SUM,
    }
)
"""What NVIDIA's and Microsoft's converters keep back as well (TensorRT Developer Guide, "Reduced
Precision": layer normalisation in FP16 overflows; ONNX Runtime's and ModelOpt's block lists).
Pooling is not among them: kernels average in FP32."""
