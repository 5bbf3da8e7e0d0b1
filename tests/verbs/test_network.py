"""Network functions: their text is all that travels, and only from the caller."""

import functools
import importlib
import math
import sys
from pathlib import Path

import pytest

import trtlab
from trtlab.environment import gpu_state
from trtlab.errors import (
    BackendUnavailableError,
    BuildError,
    ModelError,
    PlanError,
    SpecError,
    UnsupportedError,
)
from trtlab.record import Plan
from trtlab.store import Store
from trtlab.verbs import build as build_verb
from trtlab.verbs.load import graph_of
from trtlab.verbs.network_source import source_of

WAYS = {"backend": "tensorrt_rtx", "target": "sm89"}
ONE = 1


def dense(trt, network):
    """Eight to four, and a softmax."""
    import numpy as np

    def weights(*shape):
        return np.full(shape, 1 / math_free(*shape), np.float32)

    def math_free(a, b):
        return a * b

    x = network.add_input("x", trt.float32, (-1, 8))
    w = network.add_constant((8, 4), weights(8, 4)).get_output(0)
    none = trt.MatrixOperation.NONE
    product = network.add_matrix_multiply(x, none, w, none)
    product.name = "product"
    soft = network.add_softmax(product.get_output(0))
    soft.axes = 2
    soft.get_output(0).name = "y"
    network.mark_output(soft.get_output(0))
    return w


def same_text():
    """Another function object of the very same text each time."""

    def relu(trt, network):
        x = network.add_input("x", trt.float32, (2, 8))
        network.mark_output(network.add_activation(x, trt.ActivationType.RELU).get_output(0))

    return relu


def test_the_text_is_that_of_the_function_alone():
    text = source_of(same_text())
    assert text.startswith("def relu(trt, network):\n    x = ")
    assert text == source_of(same_text())
    assert "weights" in source_of(dense)


# What cannot travel


class Holder:
    def own(self, network):
        return network

    def of_two(self, trt, network):
        return network

    def __call__(self, trt, network):
        return network


def using_a_global(trt, network):
    return ONE


def using_a_module(trt, network):
    return math.pi


def using_a_global_inside(trt, network):
    return [ONE for _ in range(3)]


def with_a_default(trt, network=ONE):
    return network


def with_a_keyword(trt, network, *, more=1):
    return network


def closing(number):
    def over(trt, network):
        return number

    return over


@functools.cache
def decorated(trt, network):
    return network


@functools.wraps(using_a_global)
def wrapped(trt, network):
    return network


def of_one(trt):
    return trt


def of_three(trt, network, more):
    return more


def of_any(*arguments):
    return arguments


def yielding(trt, network):
    yield network


async def waiting(trt, network):
    return network


def made_at_run_time():
    scope = {}
    exec("def made(trt, network):\n    return network", scope)
    return scope["made"]


REFUSED = {
    "lambda": (lambda trt, network: network, "lambda"),
    "closure": (closing(3), "number"),
    "global": (using_a_global, "ONE"),
    "module": (using_a_module, "math"),
    "inner": (using_a_global_inside, "ONE"),
    "built-in": (len, "no function"),
    "class": (Holder, "no function"),
    "object": (Holder(), "no function"),
    "partial": (functools.partial(dense), "no function"),
    "number": (3, "no function"),
    "cached": (decorated, "no"),
    "one": (of_one, "of_one(trt) must take two"),
    "three": (of_three, "(trt, network, more) must take two"),
    "any": (of_any, "(*arguments) must take two"),
    "keyword": (with_a_keyword, "(trt, network, *, more=1) must take two"),
    "method": (Holder().of_two, "no function"),
    "coroutine": (waiting, "no plain function"),
    "no-text": (made_at_run_time(), "not to be had"),
    "wrapped": (wrapped, "no plain function"),
    "default": (with_a_default, "without defaults"),
    "bound": (Holder().own, "no function"),
    "generator": (yielding, "no plain function"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_stand_on_its_own_is_refused(name):
    function, words = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        source_of(function)
    assert words in caught.value.message
    assert caught.value.hint


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Imports a module of this text; ``imported.path`` is its file."""
    path = tmp_path / "written.py"

    def put(text):
        path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "written", raising=False)
        return importlib.import_module("written")

    put.path = path
    yield put
    sys.modules.pop("written", None)


def test_a_global_in_the_place_of_a_builtin_is_refused(imported):
    module = imported(
        "len = 3\n\ndef f(trt, network):\n    return len\n\n"
        "def g(trt, network):\n    return [len for _ in range(2)]\n\n"
        "def h(trt, network):\n    return sum([1])\n"
    )
    for function in (module.f, module.g):
        with pytest.raises(SpecError, match="uses len from around it"):
            source_of(function)
    assert "sum" in source_of(module.h)


WRITTEN = "def f(trt, network):\n    x = y = 3\n    return [y, x, *(x for _ in range(2))]\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("y = 3", "y = 4"),
        lambda text: text.replace("range(2)", "range(3)"),
        lambda text: text.replace("(x for", "(_ for"),
        lambda text: text.replace("y", "z"),
        lambda text: text.replace("return", "x = 5\n    return"),
        lambda text: text.replace("network)", "network=open('never'))"),
        lambda text: "def other(trt, network):\n    return 5\n\n" + text,
    ],
    ids=["constant", "call", "inner", "name", "line", "default", "moved"],
)
def test_a_text_that_changed_on_disk_after_the_import_is_refused(change, imported):
    function = imported(WRITTEN).f
    assert source_of(function) == WRITTEN
    imported.path.write_text(change(WRITTEN))
    # FAULT in source_of, of "default" alone: it runs in the worker, and nobody compares it.
    with pytest.raises(SpecError, match="changed since it was defined") as caught:
        source_of(function)
    assert "again" in caught.value.hint


@pytest.mark.parametrize("text", ["", "x =", "\n\n"])
def test_a_text_that_is_gone_or_broken_is_refused(text, imported):
    function = imported(WRITTEN).f
    imported.path.write_text(text)
    with pytest.raises(SpecError):
        source_of(function)


def test_a_remark_in_the_text_changes_nothing_of_the_function(imported):
    function = imported(WRITTEN).f
    imported.path.write_text(WRITTEN.replace("y = 3\n", "y = 3  # three\n"))
    assert "# three" in source_of(function)


INNER = "def f(trt, network):\n    def g(x: int) -> int:\n        return x\n    return g\n"
IMPORTING = "def f(trt, network):\n    import numpy as np\n    return np.zeros(3)\n"


@pytest.mark.parametrize(
    ("around", "text"),
    [
        ("", INNER),
        ("from __future__ import annotations\n", INNER),
        ("", IMPORTING),
        ("import numpy as np\n", IMPORTING),
    ],
    ids=["annotations", "future", "import", "import twice"],
)
def test_what_stands_around_a_function_is_no_change_of_it(around, text, imported):
    # FAULT in source_of: the text is compiled alone, and with the future import of trtlab's own
    # module. CPython compiles np.zeros otherwise where the module imports np as well.
    assert source_of(imported(around + text).f) == text


def test_a_network_beside_a_path_is_refused():
    with pytest.raises(SpecError, match="Two models"):
        trtlab.load("zoo:digits", network=dense)


# Built


@pytest.mark.native
@pytest.mark.usefixtures("rtx")
class TestBuilt:
    def test_a_network_by_hand_has_inputs_outputs_and_layers(self):
        opened = trtlab.load(network=dense)
        assert opened.name == "dense"
        assert opened.source == "network"
        assert [(t.name, t.dtype, t.shape) for t in opened.inputs] == [("x", "float32", ("N", 8))]
        assert [(t.name, t.dtype, t.shape) for t in opened.outputs] == [("y", "float32", ("N", 4))]
        plan = trtlab.build(opened, **WAYS)
        assert plan.model_source == "network"
        assert plan.config.profiles[0]["x"].max == (32, 8)
        assert plan.caveats == ()
        written = {t.name: t for y in plan.layers for t in y.outputs}
        assert written["y"].shape == (None, 4)
        assert plan.memory.weights >= 8 * 4 * 4
        assert Store().plan_path(plan.hash).stat().st_size == plan.plan_bytes
        assert "dense" in repr(plan)

    def test_auto_takes_tensorrt_for_it(self):
        assert trtlab.build(trtlab.load(network=same_text())).config.backend != "onnxruntime"

    def test_the_same_text_is_a_hit_and_another_is_not(self, monkeypatch):
        first = trtlab.load(network=same_text())
        plan = trtlab.build(first, **WAYS)
        again = trtlab.load(network=same_text(), name="other name")
        assert again.hash == first.hash
        assert trtlab.load(network=dense).hash != first.hash
        monkeypatch.setattr(build_verb.worker, "run", lambda *_a, **_k: pytest.fail("built"))
        known = trtlab.build(again, **WAYS)
        assert known.hash == plan.hash
        assert known.model.name == "other name"

    def test_loading_the_same_text_again_does_not_disown_the_first(self):
        first = trtlab.load(network=same_text())
        trtlab.load(network=same_text())
        assert trtlab.build(first, **WAYS).layers

    def test_what_a_function_reads_elsewhere_is_part_of_what_it_is_known_by(
        self, imported, tmp_path
    ):
        size = tmp_path / "size"
        function = imported(
            f"def sized(trt, network):\n    size = int(open({str(size)!r}).read())\n"
            "    x = network.add_input('x', trt.float32, (1, size))\n"
            "    kind = trt.ActivationType.RELU\n"
            "    network.mark_output(network.add_activation(x, kind).get_output(0))\n"
        ).sized
        found = []
        for text in ("4", "8", "4"):
            size.write_text(text)
            found.append(trtlab.load(network=function))
        assert [m.inputs[0].shape for m in found] == [(1, 4), (1, 8), (1, 4)]
        assert found[0].hash == found[2].hash != found[1].hash
        assert trtlab.build(found[0], **WAYS).inputs == found[0].inputs

    def test_a_text_that_was_changed_in_the_store_is_not_run(self, tmp_path):
        opened = trtlab.load(network=same_text())
        mark = tmp_path / "pwned"
        with Path(opened.path).open("a") as file:
            file.write(f"\n    open({str(mark)!r}, 'w')\n")
        with pytest.raises(ModelError, match="changed since it was loaded"):
            trtlab.build(opened, **WAYS)
        assert not mark.exists()

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("return 1 / 0", "ZeroDivisionError: division by zero"),
            ("raise ValueError('my words')", "ValueError: my words"),
            ("network.add_nothing()", "add_nothing"),
            ("network.add_input('x', trt.float32, (1, 2))", "marked no output"),
            ("import no_such_module", "no_such_module"),
        ],
    )
    def test_a_fault_in_the_function_is_a_build_error(self, body, words, tmp_path, monkeypatch):
        (tmp_path / "faulty.py").write_text(f"def faulty(trt, network):\n    {body}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "faulty", raising=False)
        function = importlib.import_module("faulty").faulty
        with pytest.raises(BuildError) as caught:
            trtlab.load(network=function)
        assert words in caught.value.message
        assert caught.value.hint

    def test_views_of_the_onnx_graph_say_that_there_is_none(self):
        opened = trtlab.load(network=same_text())
        for use in (trtlab.inspect, graph_of, trtlab.with_dynamic_batch):
            with pytest.raises(UnsupportedError, match="relu is a network function") as caught:
                use(opened)
            assert caught.value.hint

    def test_onnx_runtime_refuses_it(self):
        opened = trtlab.load(network=same_text())
        with pytest.raises(UnsupportedError, match="no network functions"):
            trtlab.build(opened, backend="onnxruntime")
        assert list(Store().all(Plan)) == []

    @pytest.mark.skipif(gpu_state().usable, reason="there is a GPU to run it on")
    def test_nobody_is_sent_to_onnx_runtime_to_measure_it(self):
        plan = trtlab.build(trtlab.load(network=same_text()), **WAYS)
        for measure in (trtlab.benchmark, trtlab.profile):
            with pytest.raises(BackendUnavailableError, match="cannot run here") as caught:
                measure(plan)
            assert "onnxruntime can measure" not in caught.value.hint

    def test_a_plan_that_is_gone_is_not_built_from_the_record(self):
        plan = trtlab.build(trtlab.load(network=same_text()), **WAYS)
        Store().drop_plan(plan.hash)
        for measure in (trtlab.benchmark, trtlab.profile):
            with pytest.raises(PlanError, match="is gone") as caught:
                measure(plan)
            assert "network=" in caught.value.hint
        assert trtlab.build(trtlab.load(network=same_text()), **WAYS).hash == plan.hash
