"""TensorRT-RTX, which builds engines without a GPU."""

import importlib.util
import os

import pytest


@pytest.fixture(scope="session")
def rtx() -> str:
    """The module's name; skips where there is none, or fails if TRTLAB_REQUIRE asks for it.

    Not the module itself: whoever imports it loads a hundred megabytes into this process.
    """
    name = "tensorrt_rtx"
    if importlib.util.find_spec(name) is not None:
        return name
    reason = "no TensorRT-RTX: pip install -e '.[rtx]'"
    if "rtx" in os.environ.get("TRTLAB_REQUIRE", "").split(","):
        pytest.fail(reason)
    return pytest.skip(reason)
