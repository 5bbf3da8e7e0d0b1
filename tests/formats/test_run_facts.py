"""GPU, versions and settings: from TREx's files, CUDA's list and trtexec's log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtlab.formats.run_facts import RunFacts, facts_of, facts_of_log

RUN = {
    "inference_options": {
        "Input inference shape": "input:0=32x3x224x224",
        "Duration": "3s (+ 200ms warm up)",
        "Streams": "1",
        "Data transfers": "Disabled",
        "CUDA Graph": "Enabled",
    },
    "device_information": {"Selected Device": "NVIDIA A100", "Compute Capability": 8.0},
}


def test_the_facts_of_a_run():
    assert facts_of(RUN) == RunFacts(
        gpu="NVIDIA A100",
        target="sm80",
        cuda_graph=True,
        transfers=False,
        streams=1,
        warm_up_ms=200.0,
        shapes={"input:0": (32, 3, 224, 224)},
    )


def test_the_facts_of_a_build():
    data = {"model_options": {"Format": "ONNX"}, "build_options": {"Precision": "FP32+FP16+INT8"}}
    assert facts_of(data) == RunFacts(precisions="int8+fp16+fp32")


def test_of_several_devices_none_is_taken():
    a100 = {"Name": "A100", "ComputeCapability": [8, 0], "UUID": "GPU-31e9692b"}
    assert facts_of([a100]) == RunFacts(gpu="A100", target="sm80")
    assert facts_of([a100, {"Name": "T4", "ComputeCapability": [7, 5]}]) == RunFacts()


@pytest.mark.parametrize(
    "data", [None, 5, "x", {}, {"Layers": []}, [], [1], [{}], [{"Name": "a"}]]
)
def test_other_json_tells_no_facts(data):
    assert facts_of(data) is None


LOG = """\
=== Build Options ===
Precision: FP32+FP16
=== Inference Options ===
Inference Streams: 2
Data transfers: Enabled
CUDA Graph: Disabled
Duration: 3s (+ 200ms warm up)
=== Device Information ===
Available Devices:
  Device 0: "NVIDIA H100 PCIe" UUID: GPU-31e9692b-62b7-2d62-f0b1-f4195b568ac7
Selected Device: NVIDIA H100 PCIe
Selected Device UUID: GPU-31e9692b-62b7-2d62-f0b1-f4195b568ac7
Compute Capability: 9.0
TensorRT version: 10.16.1
Input binding for x: 0 with dimensions 1x1x28x28 and type fp32 is created.
Output binding for y with dimensions 1x10 and type fp32 is created.
"""


def test_the_facts_of_a_log():
    assert facts_of_log(LOG.splitlines()) == RunFacts(
        gpu="NVIDIA H100 PCIe",
        target="sm90",
        tensorrt="10.16.1",
        precisions="fp16+fp32",
        cuda_graph=False,
        transfers=True,
        streams=2,
        warm_up_ms=200.0,
        shapes={"x: 0": (1, 1, 28, 28)},
    )


def test_no_identity_of_a_gpu_is_taken():
    assert "31e9692b" not in repr(facts_of_log(LOG.splitlines()))


def test_what_one_file_does_not_tell_another_may():
    found = RunFacts(gpu="A").completed(RunFacts(gpu="B", streams=2, shapes={"x": (1,)}))
    assert found == RunFacts(gpu="A", streams=2, shapes={"x": (1,)})
    assert RunFacts(cuda_graph=False).completed(RunFacts(cuda_graph=True)).cuda_graph is False


def test_settings_of_an_unknown_form_are_unknown():
    wrong = {"inference_options": dict.fromkeys(RUN["inference_options"], "?")}
    wrong["device_information"] = {"Selected Device": 5, "Compute Capability": "8"}
    assert facts_of(wrong) == RunFacts()


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
keys = sorted({*RUN["inference_options"], *RUN["device_information"], "Precision"})
sections = st.sampled_from(["inference_options", "device_information", "build_options"])


@given(st.dictionaries(sections, st.dictionaries(st.sampled_from(keys), plain) | plain) | plain)
def test_any_json_tells_facts_or_none(data):
    found = facts_of(data)
    assert found is None or isinstance(found, RunFacts)


@given(st.lists(st.sampled_from(LOG.splitlines()) | st.text()))
def test_any_lines_tell_facts(lines):
    found = facts_of_log(lines)
    assert found.target is None or found.target == "sm90"
