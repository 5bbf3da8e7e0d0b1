"""Why a TensorRT module is not here or cannot run here: known without importing it."""

from __future__ import annotations

import sys

from trtlab.environment import GpuState

EXTRAS = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}
"""The extra of this project that installs each module."""

_RTX_GPUS = ((7, 5), (8, 0), (8, 6), (8, 9))
_RTX_FROM = (12, 0)
"""Compute capabilities that TensorRT-RTX has kernels for: the names in its ``ComputeCapability``,
and what it says on an H200, which it refuses (``Supported compute capabilities: 8.0 8.6 8.9 12.0
12.1 >12.0``)."""


def why_missing(name: str) -> tuple[str, str]:
    """Return that a module is not installed, and what would help on this platform."""
    if sys.platform == "darwin":
        return f"{name} has no package for macOS.", "Use Linux or Windows, or onnxruntime."
    return f"{name} is not installed.", f"pip install -e '.[{EXTRAS[name]}]'"


def why_not_run(name: str, gpu: GpuState) -> tuple[str, str]:
    """Return why its engines cannot run here and what to do; empty texts if they can."""
    if not gpu.usable:
        reason = f"{gpu.reason[:1].upper()}{gpu.reason[1:]}."
        return reason, "Run it on a machine with an NVIDIA GPU."
    capability = gpu.compute_capability or (0, 0)
    if name == "tensorrt_rtx" and capability not in _RTX_GPUS and capability < _RTX_FROM:
        text = f"{capability[0]}.{capability[1]}"
        return (
            f"TensorRT-RTX does not support this GPU's compute capability {text}.",
            "Use full TensorRT: pip install -e '.[tensorrt]'",
        )
    return "", ""
