"""``trtlab.fusion``: the graph is found, rebuilt or refused, and which it was is said."""

import shutil
from dataclasses import replace

import pytest

import trtlab
from tests.making import layer_profile
from tests.verbs.test_network import dense
from trtlab.errors import MismatchError, SpecError
from trtlab.store import Store

pytestmark = pytest.mark.native


@pytest.fixture
def plan():
    return trtlab.build("zoo:digits", backend="onnxruntime")


def test_of_a_model_it_is_built_first():
    fuse = trtlab.fusion("zoo:digits", backend="onnxruntime", optimization_level="extended")
    assert fuse.graph_source == "model"
    assert len(fuse.fates) == len(fuse.graph.nodes) == 37
    assert (fuse.backend, fuse.target) == ("ONNX Runtime", "cpu")


def test_of_a_plan_the_graph_comes_from_the_store(plan):
    assert trtlab.fusion(plan).graph_source == "model"


def test_a_file_that_is_still_there_is_read_again(plan, tmp_path):
    other = Store(tmp_path / "other")
    assert trtlab.fusion(plan, store=other).graph_source == "model"


def test_a_plan_from_elsewhere_has_a_graph_rebuilt_from_its_names_unless_a_model_is_given(
    plan, tmp_path
):
    strange = replace(plan, model=replace(plan.model, hash="9" * 64), source="recorded")
    fuse = trtlab.fusion(strange)
    assert fuse.graph_source == "names"
    assert "nodes-from-names" in [c.kind for c in fuse.caveats]
    unknown = replace(strange, model=replace(plan.model, hash=None))
    model = shutil.copy(trtlab.load("zoo:digits").path, tmp_path / "a.onnx")
    assert trtlab.fusion(unknown, model=model).graph_source == "model"


def test_another_model_than_the_plans_is_refused(plan):
    with pytest.raises(MismatchError, match="another model than zoo:digits_mobile"):
        trtlab.fusion(plan, model="zoo:digits_mobile")


def test_times_of_the_layers_come_with_their_profile(plan):
    profile = trtlab.profile(plan, batch=2, quick=True)
    fuse = trtlab.fusion(plan, profile=profile)
    assert fuse.time_kind == "cpu"
    assert sum(g.time_share for g in fuse.groups) == pytest.approx(1, abs=0.2)
    assert fuse.sizes == {"N": 2}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backend": "onnxruntime"}, "built already: backend"),
        ({"sizes": {"N": 0}}, "size of N"),
        ({"sizes": [1]}, "names no axes"),
        ({"profile": "fast"}, "no layer profile"),
    ],
)
def test_wrong_settings(plan, wrong, message):
    with pytest.raises(SpecError, match=message):
        trtlab.fusion(plan, **wrong)


def test_times_of_another_plan_are_refused(plan):
    with pytest.raises(MismatchError, match="another plan"):
        trtlab.fusion(plan, profile=layer_profile(plan="77" * 32))


def test_a_network_function_has_no_graph_but_names(rtx):
    fuse = trtlab.fusion(
        trtlab.load(network=dense), backend="tensorrt_rtx", target="sm89", batch=(1, 2, 4)
    )
    assert fuse.graph_source == "names"
    assert fuse.layers
