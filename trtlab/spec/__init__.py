"""What goes in: how to build a plan, how to run it; and doubt about what came out.

``None`` in a field means the backend's default.
"""

from trtlab.spec.build import (
    DEFAULT_BATCH,
    OPTIMIZATION_LEVELS,
    TENSORRT,
    VERBOSITIES,
    BuildConfig,
    Profile,
    ShapeRange,
    profile_of,
)
from trtlab.spec.caveat import Caveat, CaveatKind
from trtlab.spec.checks import Shape
from trtlab.spec.run import LEAST_CAP, RunConfig, input_shapes
from trtlab.spec.setup import BUILD_ONLY, Setup

__all__ = [
    "BUILD_ONLY",
    "DEFAULT_BATCH",
    "LEAST_CAP",
    "OPTIMIZATION_LEVELS",
    "TENSORRT",
    "VERBOSITIES",
    "BuildConfig",
    "Caveat",
    "CaveatKind",
    "Profile",
    "RunConfig",
    "Setup",
    "Shape",
    "ShapeRange",
    "input_shapes",
    "profile_of",
]
