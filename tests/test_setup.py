"""``Setup``: what the workbench's controls can ask for."""

import pytest

from trtlab.errors import SpecError
from trtlab.spec import Setup


def test_its_run_and_its_build_hold_what_belongs_to_them():
    setup = Setup(
        builder="tensorrt_rtx",
        batches=(1, 8, 16),
        batch=8,
        workspace_bytes=2**20,
        target="sm89",
        threads=2,
        quick=True,
    )
    assert setup.build_settings == {"batch": (1, 8, 16), "workspace": 2**20, "target": "sm89"}
    assert (setup.run.batch, setup.run.threads, setup.run.quick) == (8, 2, True)
    assert Setup().build_settings == {}
    assert Setup(provider="cuda").build_settings == {"provider": "cuda"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"builder": "nvcc"}, "no builder called 'nvcc'"),
        ({"runner": "tensorrt"}, "tensorrt cannot run what onnxruntime built"),
        ({"batches": (4, 2, 8)}, "does not grow"),
        ({"batches": (0, 2, 8)}, "A batch size"),
        ({"batch": 0}, "Batch"),
        ({"streams": 0}, "Streams"),
        (
            {"builder": "tensorrt", "runner": "tensorrt", "batches": (1, 2, 4), "batch": 8},
            "outside",
        ),
    ],
)
def test_what_cannot_be_is_refused(settings, said):
    with pytest.raises(SpecError, match=said):
        Setup(**settings)


def test_onnx_runtime_may_run_beyond_the_engines_profile():
    assert Setup(builder="tensorrt", batches=(1, 2, 4), batch=8).batch == 8
