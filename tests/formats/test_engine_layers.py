"""Engine layers from log text and JSON: real files, hostile names, cuts, noise."""

import json
import re
import time
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests import making
from trtlab.errors import UnsupportedError
from trtlab.formats import engine_inspector
from trtlab.formats.engine_inspector import layers_json, layers_of, read_inspector
from trtlab.formats.engine_layers import built_ahead, dtype_name
from trtlab.formats.layer_dump import BEGINNINGS, CUT_OFF, read_dump
from trtlab.model.types import Tensor
from trtlab.record import EngineLayer, LayerTensor
from trtlab.spec import BuildConfig, Caveat

# Dumps by hand, in the form of TensorRT-RTX 1.7


def tensor(name, dims="1,3", dtype="Float", layout="(Linear) Row major linear format"):
    return (
        f"{{ Name: {name}, Dimensions: [{dims}], Strides: [3,1], StrideOrder: [1,0], "
        f"Datatype: {dtype}, Format: {layout} }}"
    )


def listed(tensors):
    return f"[ {', '.join(tensors)}]" if tensors else "[]"


def row(name, *, inputs=(), constants=(), outputs=(), more="", metadata=""):
    return (
        f"Name: {name}, LayerType: kgen, Inputs: {listed(inputs)}, "
        f"Constants: {listed(constants)}, Outputs: {listed(outputs)}, TacticName: , "
        f"StreamId: 0{more}, Metadata: {metadata}"
    )


END = "\n\nI/O Tensors:\n Name: x, IOMode: Input\n\nEngine Metadata:\n Multi-Device: Disabled"


def dump(*rows):
    return "Layers:\n" + "\n".join(rows) + END


def test_a_layer_by_hand():
    text = row(
        "a",
        inputs=[tensor("x", "-1,3")],
        constants=[tensor("w", "", "Int8")],
        outputs=[tensor("y"), tensor("z")],
        more=", EventId: 4",
        metadata="[ONNX Layer: n]\x1f[ONNX Layer: m]\x1f[ONNX Layer: n]",
    )
    read = read_dump(dump(text))
    plain = LayerTensor(
        "y", "float32", (1, 3), format="(Linear) Row major linear format", strides=(3, 1)
    )
    assert not read.unread
    assert not read.names_only
    assert read.layers == (
        EngineLayer(
            "a",
            "kgen",
            inputs=(replace(plain, name="x", shape=(None, 3)),),
            outputs=(plain, replace(plain, name="z")),
            constants=(replace(plain, name="w", dtype="int8", shape=(), is_constant=True),),
            nodes=("n", "m"),
            stream=0,
            event=4,
        ),
    )


HOSTILE = [
    "a, Foo: b",
    "} ] }, { Name: q, Dimensions: [",
    "], Constants: [",
    "w }], Outputs: [ { Name: k",
    "in }, Dimensions: [1",
    "x, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: ",
    "x, Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: y }",
    "TacticName: , StreamId: 5",
    ", LayerType: kgen",
    ", Metadata: [ONNX Layer: ",
    ", StreamId: 0, Metadata: ",
    "two\nlines",
    "x\x1fy\x1ez",
    "u]v",
    'é"\\"q\u2028\x85',
    " PWN(a, b) + c || d ",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_may_hold_what_the_text_is_made_of(name):
    text = row(
        name,
        inputs=[tensor(name), tensor("t")],
        constants=[tensor(name)],
        outputs=[tensor("t"), tensor(name)],
        metadata=f"[ONNX Layer: {name}]\x1e[ONNX Layer: n]",
    )
    read = read_dump(dump(row("before"), text, row("after")))
    assert not read.unread
    before, layer, after = read.layers
    assert (before.name, layer.name, after.name) == ("before", name, "after")
    assert [t.name for t in layer.inputs] == [name, "t"]
    assert [t.name for t in layer.constants] == [name]
    assert [t.name for t in layer.outputs] == ["t", name]
    assert layer.nodes == (name, "n")


PIECES = [*'{}[]()"\\\n\x1e\x1f 1éw', ", ", ": ", " + ", "-1,3", "/a/b", "x, Foo: y", "\n\n"]
PIECES += ["Name: ", "\nName: ", "Layers:", "Layer(", "[ONNX Layer: ", "\n\nI/O Tensors:"]
PIECES += [" }, { Name: ", " }], ", ", LayerType: ", ", LayerType: kgen", ", Inputs: []"]
PIECES += [", Inputs: [ { Name: ", ", Outputs: [", ", Constants: [", ", TacticName: "]
PIECES += [", StreamId: 0", ", EventId: 1", ", Metadata: ", ", Tactic: 0x", ", Tactic: 0x1f"]
PIECES += [", Dimensions: [", ", Dimensions: [1]", ", Location: Device", ", Datatype: Float"]
PIECES += [", Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: x"]
PIECES += ["Format: ", ", Format/Datatype: Float }"]
names = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)

# What the docstring of layer_dump calls misread: a name that holds an ending in full.
ENDINGS = re.compile(
    r", LayerType: [^,]*, Inputs: \[(\]| \{ Name: )"
    r"|, Dimensions: \[[^\]]*\].* \}(, \{ Name: |\], \w+: )"
    r"|, Location: Device$|\n\nI/O Tensors:\n|\nName: |\][\x1e\x1f]|[\x1e\x1f]\[ONNX Layer: ",
    re.DOTALL,
)


@given(names, st.lists(names, min_size=3, max_size=3), st.lists(names, max_size=3))
def test_what_is_printed_is_read_again(name, tensors, nodes):
    assume(not any(ENDINGS.search(n) for n in (name, *tensors, *nodes)))
    a, b, c = tensors
    text = row(
        name,
        inputs=[tensor(a), tensor(b)],
        constants=[tensor(c)],
        outputs=[tensor(b)],
        metadata="\x1f".join(f"[ONNX Layer: {n}]" for n in nodes),
    )
    read = read_dump(dump(text, row("after")))
    assert not read.unread
    layer, after = read.layers
    assert layer.name == name
    assert [t.name for t in (*layer.inputs, *layer.constants, *layer.outputs)] == [a, b, c, b]
    assert layer.nodes == tuple(dict.fromkeys(nodes))
    assert after.name == "after"


@given(st.lists(names, min_size=1, max_size=3))
def test_names_alone_are_read_again(some):
    assume(not any(re.search(r", Tactic: 0x|\nLayer\(", n) for n in some))
    text = "\n".join(f"Layer(NoOp): {n}, Tactic: 0x00, {n} (Float[1]) -> y (F)" for n in some)
    for beginning in ("", "Engine Layer Information:\n"):
        read = read_dump(beginning + text)
        assert [layer.name for layer in read.layers] == some
        assert {layer.type for layer in read.layers} == {"NoOp"}
        assert read.names_only
        assert not read.unread


def test_a_name_with_a_line_of_its_own_leaves_unread_layers():
    text = row("a", metadata="[ONNX Layer: x\nName: y]")
    read = read_dump(dump(text, row("b")))
    assert [(y.name, y.type) for y in read.layers] == [
        ("a", "unread"),
        ("layer 2", "unread"),
        ("b", "kgen"),
    ]
    assert len(read.unread) == 2


def test_a_layer_that_is_not_understood_is_unread_at_its_place():
    lines = [
        row("a"),
        row("b").replace("Outputs: []", "Outputs: [ { Name: y, Shape: 3 }]"),
        "Name: something else",
        row("d").replace("StreamId: 0", "StreamId: first"),
        row("e").replace(", TacticName: ", ", TacticName: , Name: f, TacticName: "),
        row("f").replace("Outputs: []", "Results: []"),
        row("g", metadata="[ONNX Layer: n"),
        row("h", metadata="\nmore of it"),
        row("i", inputs=[tensor("x", "1,-2")]),
        row("j"),
    ]
    read = read_dump(dump(*lines))
    assert [y.name for y in read.layers] == ["a", "b", "layer 3", *"defghij"]
    assert [y.type for y in read.layers] == ["kgen", *["unread"] * 8, "kgen"]
    assert read.unread == tuple(lines[1:-1])
    assert read.layers[2] == EngineLayer(
        "layer 3", "unread", (), (), details={"text": "Name: something else"}
    )


def test_what_stands_before_the_first_layer_is_unread():
    read = read_dump(dump("something new", row("a")))
    assert [y.name for y in read.layers] == ["a"]
    assert read.unread == ("\nsomething new",)


ORDERED = "(Arbitrary) Format with stride order = [0,3,2,1]"


@pytest.mark.parametrize("layout", [ORDERED, f"{ORDERED} and more", "order = []", "[2, -1]"])
def test_a_format_may_name_an_order_of_axes(layout):
    read = read_dump(dump(row("a", inputs=[tensor("x", layout=layout)], outputs=[tensor("y")])))
    assert not read.unread
    (layer,) = read.layers
    assert [(t.name, t.format) for t in layer.inputs] == [("x", layout)]
    assert layer.outputs[0].name == "y"


@pytest.mark.parametrize("layout", ["[0,3", "0,3]", "[0,[3]]", "[0,x]", "[0] [1]", "a } b"])
def test_a_format_of_another_form_is_unread(layout):
    assert read_dump(dump(row("a", inputs=[tensor("x", layout=layout)]))).unread


def test_what_became_of_the_last_node_is_no_part_of_its_name():
    nodes = "[ONNX Layer: conv10/Conv]\x1f[ONNX Layer: conv10/Relu]"
    said = f"{nodes}__gemm_from_conv1x1"
    plain, named, cut = read_dump(
        dump(row("a", metadata=nodes), row("b", metadata=said), row("c", metadata=nodes[:-1]))
    ).layers
    assert plain.nodes == named.nodes == ("conv10/Conv", "conv10/Relu")
    assert "Metadata" not in plain.details
    assert json.loads(named.details["Metadata"]) == said
    assert cut.type == "unread"


def test_metadata_of_a_network_without_a_parser_is_kept():
    read = read_dump(dump(row("a", metadata="my own"), row("b", metadata="c\x1f[ONNX Layer: d]")))
    a, b = read.layers
    assert not read.unread
    assert (a.nodes, a.details) == ((), {"Metadata": '"my own"'})
    assert (b.nodes, b.details) == (("d",), {"Metadata": '"c\\u001f[ONNX Layer: d]"'})


def test_a_stub_is_no_tactic_but_is_kept():
    read = read_dump(dump(row("a").replace("TacticName: ", "TacticName: __myelin_CASK_STUB")))
    assert read.layers[0].tactic is None
    assert read.layers[0].details == {"TacticName": '"__myelin_CASK_STUB"'}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        "\ud800",
        "Layers:",
        " Layers:",
        "Layers:\n",
        "Layers:" + END,
        "Layers:\nconv\nrelu" + END,
        dump("Name: x"),
        "Engine Layer Information:",
        "Layer(",
        "Layer(NoOp): a",
    ],
)
def test_a_text_without_a_layer_has_none(text):
    assert read_dump(text).layers is None


# Dumps that TensorRT printed


@pytest.fixture
def real_dump(shared_data):
    """The message as a logger gets it: the file holds `[SEVERITY] text` for each."""
    log = (shared_data / "aot" / "m_DETAILED.log").read_bytes().decode()
    (message,) = re.findall(r"^\[VERBOSE\] (Layers:.*?)\n\[", log, re.DOTALL | re.MULTILINE)
    return message


NODES = {
    "__myl_CorrMulAddRelu_myl0_2": ("c1", "b1", "r1"),
    "__myl_CorrMulAddRelu_myl0_4": ("ic", "ibc", "irc"),
    "__myl_CorrMulAddRelu_myl0_6": ("ib", "ibb", "irb"),
    "__myl_CorrMulAddRelu_myl0_9": ("ia", "iba", "ira"),
    "__myl_Conc_myl0_13": ("cat",),
    "c2_myl0_14": ("c2", "r2", "add"),
    "__myl_Mean_myl0_16": ("gap",),
    "fc_myl0_17": ("fc",),
    "__myl_AddMaxrSubExpSumDiv_myl0_18": ("fc", "sm"),
}
STREAMS = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0]
EVENTS = [*zip(["signal", "wait", "signal", "wait"], [1, 1, 3, 1], strict=True)]
EVENTS += [("signal", 2), ("wait", 2), ("wait", 3)]


def test_a_real_dump(real_dump):
    read = read_dump(real_dump)
    assert not read.unread
    assert not read.names_only
    assert len(read.layers) == 19
    assert {y.name: y.nodes for y in read.layers if y.nodes} == NODES
    assert [y.stream for y in read.layers] == STREAMS
    assert [(y.type, y.event) for y in read.layers if y.event is not None] == EVENTS
    tensors = [t for y in read.layers for t in (*y.inputs, *y.constants, *y.outputs)]
    assert len(tensors) == real_dump.partition("I/O Tensors:")[0].count("{ Name: ")
    assert {t.dtype for t in tensors} == {"float32"}
    assert all(len(t.strides) == len(t.shape) for t in tensors)
    c2 = read.layers[14]
    assert (len(c2.inputs), len(c2.constants), len(c2.outputs)) == (2, 4, 1)
    assert c2.constants[0] == LayerTensor(
        "__mye1697dconst_myl0",
        "float32",
        (48, 48, 3, 3),
        format="(NHWC) Channel major format",
        strides=(432, 1, 144, 48),
        is_constant=True,
    )
    assert c2.inputs[0].shape == (None, 48, 32, 32)
    assert read.layers[1].tactic == "__myl_Move_0x5e4c4fb23408d5461ce02510933d8c51"
    assert sum(y.tactic is None for y in read.layers) == 14


def test_a_cut_dump_never_passes_for_a_whole_one(real_dump):
    whole = read_dump(real_dump).layers
    end = real_dump.index("\n\nI/O Tensors:") + len("\n\nI/O Tensors:")
    for length in [*range(0, len(real_dump), 97), end - 1, end]:
        read = read_dump(real_dump[:length])
        if length >= end:
            assert read.layers == whole
            assert not read.unread
            continue
        assert read.layers is None or CUT_OFF in read.unread
        for was, layer in zip(whole, read.layers or (), strict=False):
            assert layer == was or (layer.type == "unread" and layer is read.layers[-1])


@given(data=st.data())
def test_noise_in_a_real_dump_is_read_or_unread(real_dump, data):
    text = real_dump
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        length = data.draw(st.sampled_from([0, 1, 2, 30, 3000]))
        noise = data.draw(names | st.text(max_size=5))
        text = text[:begin] + noise + text[begin + length :]
    read = read_dump(text)
    if read.layers is not None and not read.names_only:
        block = re.split(r"\n\n(?:I/O Tensors|Bindings):(?:\n|$)", text)[0]
        assert len(read.layers) == block.count("\nName: ")
    for layer in read.layers or ():
        assert (layer.type == "unread") == (layer.details.get("text") in read.unread)


@given(st.sampled_from(BEGINNINGS), names | st.text())
def test_any_text_is_read_or_refused(beginning, text):
    for each in (text, f"{beginning}\n{text}", dump(row("a"), text)):
        read = read_dump(each)
        assert read.layers is None or len(read.layers) > 0


def test_reading_takes_time_in_proportion_to_the_text():
    line = row("a", inputs=[tensor("x")] * 5, outputs=[tensor("y")], metadata="[ONNX Layer: n]")

    def seconds(layers):
        text = dump(*[line] * layers)
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            assert len(read_dump(text).layers) == layers
            times.append(time.perf_counter() - begin)
        return min(times)

    assert seconds(4000) / seconds(1000) < 8


@pytest.mark.parametrize(
    "piece",
    [
        ", Dimensions: [1], Strides: [1], StrideOrder: [0], Datatype: Float, Format: ",
        ", Dimensions: [1], Format/Datatype: x",
        ", LayerType: x, Inputs: [",
        "\nName: ",
        "{ Name: ",
        "1,",
        "]\x1f[ONNX Layer: ",
        ", a: ",
    ],
)
def test_no_name_makes_reading_quadratic(piece):
    def seconds(count):
        name = ", Dimensions: [" * (piece == "1,") + piece * count
        inputs = f"Name: a, LayerType: k, Inputs: [ {{ Name: {name}"
        metadata = row("a", metadata=f"[ONNX Layer: {name}")
        texts = [dump(f"Name: {name}"), dump(inputs), dump(metadata)]
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            for text in texts:
                read_dump(text)
            times.append(time.perf_counter() - begin)
        return min(times)

    assert seconds(20_000) / seconds(5000) < 10


# Dumps and exports of TensorRT 8.x and 10.16


def printed_dumps(path):
    """The messages in a log of TensorRT 10.16; tensors that a script printed may follow one."""
    start = r"^(?:\[[^\]\n]*\] )*((?:Layers:|Engine Layer Information:)\n.*?)(?=\n\[|\n\nx\n)"
    log = path.read_bytes().decode(errors="replace")
    return re.findall(start, log, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("file", "counts", "names_only"),
    [
        ("cookbook_EngineInspector/log-main.py.log", [26], [False]),
        ("cookbook_ProfilingVerbosity/log-main.py.log", [16, 16, 26], [True, True, False]),
        ("cookbook_trtexec/result-02.log", [6], [True]),
        ("cookbook_trtexec/result-04.log", [9], [False]),
    ],
)
def test_dumps_of_tensorrt_10(shared_data, file, counts, names_only):
    reads = [read_dump(text) for text in printed_dumps(shared_data / "engines" / file)]
    assert [len(read.layers) for read in reads] == counts
    assert [read.names_only for read in reads] == names_only
    for read in reads:
        assert not read.unread
        assert all(y.name and y.type for y in read.layers)
        assert all(t.dtype for y in read.layers for t in (*y.inputs, *y.outputs))


def test_text_and_json_of_one_model_give_the_same_layers(shared_data):
    folder = shared_data / "engines" / "cookbook_trtexec"
    (text,) = printed_dumps(folder / "result-04.log")
    export = (folder / "model-trained-exportLayerInfo.log").read_text()

    def without_tactics(read):  # two builds chose two of them differently
        return [
            replace(
                y, tactic=None, details={k: v for k, v in y.details.items() if "Tactic" not in k}
            )
            for y in read.layers
        ]

    assert without_tactics(read_dump(text)) == without_tactics(read_inspector(export))


@pytest.mark.parametrize(
    ("file", "count", "types"),
    [
        ("pytorch_resnet_A100_fp32/resnet.onnx", 32, {"float32"}),
        ("pytorch_resnet_A100_fp16/resnet.onnx", 36, {"float32", "float16"}),
        ("pytorch_resnet_A100_qat/resnet-qat.onnx", 37, {"float32", "float16", "int8"}),
        ("tensorflow_resnet_RTX-3090_fp32/resnet.onnx", 103, {"float32"}),
        ("tensorflow_resnet_RTX-3090_qat/resnet-qat.onnx", 63, {"float32", "int8"}),
        ("tests_mobilenet_qat/mobilenet.qat.onnx", 73, {"float32", "float16", "int8"}),
        ("cookbook_trtexec/model-trained-exportLayerInfo.log", 9, {"float32", "int32", "int64"}),
    ],
)
def test_a_real_export(shared_data, file, count, types):
    path = (
        shared_data / "engines" / (file if file.endswith(".log") else f"{file}.engine.graph.json")
    )
    data = json.loads(path.read_text())
    read = read_inspector(path.read_text())
    assert not read.unread
    assert not read.names_only
    assert len(read.layers) == count
    assert all(y.name and y.type for y in read.layers)
    assert {t.dtype for y in read.layers for t in (*y.inputs, *y.outputs)} == types
    for layer, said in zip(read.layers, data["Layers"], strict=True):
        assert layer.name == said["Name"]
        assert [list(t.shape) for t in layer.outputs] == [t["Dimensions"] for t in said["Outputs"]]
        assert layer.tactic == (said.get("TacticName") or said.get("TacticValue"))
        for key in ("ParameterType", "Weights", "Activation", "Origin"):
            assert (key in layer.details) == (key in said)
            if key in said:
                assert json.loads(layer.details[key]) == said[key]
    assert read_inspector(json.dumps(data["Layers"])).layers == read.layers


def test_nodes_of_a_real_export(shared_data):
    folder = shared_data / "engines" / "cookbook_trtexec"
    read = read_inspector((folder / "model-trained-exportLayerInfo.log").read_text())
    nodes = [y.nodes for y in read.layers]
    assert nodes[0] == ("node_conv2d", "node_relu")
    assert nodes[4] == ("node_linear", "node_relu_2")
    assert nodes[8] == ()
    assert {y.stream for y in read.layers} == {0}


def test_other_files_are_no_export(shared_data):
    for path in (shared_data / "engines").glob("*/*.json"):
        if not path.name.endswith("graph.json"):
            assert read_inspector(path.read_text()).layers is None


# JSON by hand

PLAIN = {"Name": "a", "LayerType": "kgen"}


def test_json_of_tensorrt_8_and_10():
    conv = {
        "Name": "conv + relu",
        "LayerType": "CaskConvolution",
        "Inputs": [
            {
                "Name": "in",
                "Location": "Device",
                "Dimensions": [-1, 4],
                "Format/Datatype": "Channel major FP16 format where channel % 8 == 0",
            }
        ],
        "Outputs": [
            {"Name": "out", "Dimensions": [], "Format/Datatype": "Half"},
            {"Name": "any", "Dimensions": [2], "Format/Datatype": "N/A due to dynamic shapes"},
        ],
        "ParameterType": "Convolution",
        "Weights": {"Type": "Half", "Count": 12},
        "TacticName": "a_kernel",
        "TacticValue": "0x1",
        "StreamId": 2,
        "Metadata": "[ONNX Layer: conv]\x1e[ONNX Layer: a]b]",
    }
    copy = {"Name": "copy", "LayerType": "Reformat", "TacticValue": "0x0", "Metadata": ""}
    read = read_inspector(json.dumps({"Layers": [conv, copy], "Bindings": ["in", "out"]}))
    assert not read.unread
    assert read.layers == (
        EngineLayer(
            "conv + relu",
            "CaskConvolution",
            inputs=(
                LayerTensor(
                    "in",
                    "float16",
                    (None, 4),
                    format="Channel major FP16 format where channel % 8 == 0",
                    location="Device",
                ),
            ),
            outputs=(LayerTensor("out", "float16", ()), LayerTensor("any", None, (2,))),
            nodes=("conv", "a]b"),
            tactic="a_kernel",
            stream=2,
            details={
                "ParameterType": '"Convolution"',
                "Weights": '{"Type":"Half","Count":12}',
                "TacticValue": '"0x1"',
            },
        ),
        EngineLayer("copy", "Reformat", (), (), tactic="0x0"),
    )


@pytest.mark.parametrize("key", ["Datatype", "DataType"])
def test_json_of_tensorrt_11(key):
    """After NVIDIA's description of the change; no real file was at hand."""
    tensor = {"Name": "x", "Dimensions": [1, 3], key: "BFloat16", "Format": "Row major linear"}
    layer = {"Name": "a", "LayerType": "kgen", "Inputs": [tensor], "Outputs": []}
    layer |= {"Constants": [tensor | {"Strides": [3, 1]}], "EventId": 1}
    io = {"Name": "x", "IOMode": "Input", "DataType": "BFloat16", "Dimensions": [1, 3]}
    read = read_inspector(json.dumps({"Layers": [layer], "I/O Tensors": [io]}))
    (a,) = read.layers
    x = LayerTensor("x", "bfloat16", (1, 3), format="Row major linear")
    assert a.inputs == (x,)
    assert a.constants == (replace(x, strides=(3, 1), is_constant=True),)
    assert (a.stream, a.event) == (None, 1)


def test_a_type_of_a_later_version_stays_visible():
    tensor = {"Name": "x", "Dimensions": [1], "Datatype": "Posit8", "Format": "Linear"}
    read = read_inspector(json.dumps([PLAIN | {"Inputs": [tensor]}]))
    assert read.layers[0].inputs == (LayerTensor("x", None, (1,), format="Posit8 Linear"),)


def test_names_only():
    read = read_inspector(json.dumps({"Layers": ["a + b", "c"], "Bindings": ["x"]}))
    assert read.names_only
    assert not read.unread
    assert [(y.name, y.type) for y in read.layers] == [("a + b", ""), ("c", "")]


def test_a_bare_name_among_layers_is_kept_and_said():
    read = read_inspector(json.dumps({"Layers": [PLAIN, "b"]}))
    assert not read.names_only
    assert [y.name for y in read.layers] == ["a", "b"]
    assert read.unread == ('"b"',)


WRONG = {
    "number": 5,
    "null": None,
    "list": [],
    "nothing": {},
    "only-a-name": {"Name": "a"},
    "no-name": {"LayerType": "kgen"},
    "name-is-null": PLAIN | {"Name": None},
    "name-is-number": PLAIN | {"Name": 1},
    "type-is-list": PLAIN | {"LayerType": []},
    "inputs-are-text": PLAIN | {"Inputs": "x"},
    "input-is-number": PLAIN | {"Inputs": [1]},
    "input-without-name": PLAIN | {"Inputs": [{}]},
    "dimensions-are-text": PLAIN | {"Inputs": [{"Name": "x", "Dimensions": "1,2"}]},
    "dimension-is-text": PLAIN | {"Inputs": [{"Name": "x", "Dimensions": ["N"]}]},
    "dimension-is-true": PLAIN | {"Inputs": [{"Name": "x", "Dimensions": [True]}]},
    "dimension-is-fraction": PLAIN | {"Inputs": [{"Name": "x", "Dimensions": [1.5]}]},
    "dimension-below-minus-1": PLAIN | {"Inputs": [{"Name": "x", "Dimensions": [-2]}]},
    "more-than-64-bits": PLAIN | {"Inputs": [{"Name": "x", "Dimensions": [2**63]}]},
    "format-is-number": PLAIN | {"Inputs": [{"Name": "x", "Format/Datatype": 1}]},
    "stream-is-text": PLAIN | {"StreamId": "0"},
    "metadata-is-list": PLAIN | {"Metadata": []},
    "metadata-is-cut": PLAIN | {"Metadata": "[ONNX Layer: b"},
    "tactic-is-number": PLAIN | {"TacticName": 1},
}


@pytest.mark.parametrize("item", WRONG.values(), ids=WRONG)
def test_an_item_that_is_no_layer_is_unread_at_its_place(item):
    read = read_inspector(json.dumps({"Layers": [PLAIN, item, PLAIN]}))
    assert [y.type for y in read.layers] == ["kgen", "unread", "kgen"]
    name = item.get("Name") if isinstance(item, dict) else None
    assert read.layers[1].name == (name if isinstance(name, str) else "layer 2")
    assert read.unread == (json.dumps(item),)
    assert read.layers[1].details == {"text": json.dumps(item)}
    assert read_inspector(json.dumps([item])).layers is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{}",
        "[]",
        "null",
        "3",
        '"Layers"',
        '{"Layers": 5}',
        '{"Layers": {"Name": "a"}}',
        '{"Layers": [{"Name": "a"}',
        "[" * 200_000,
        '{"Layers": [{"Name": "a", "Deep": ' + "[" * 200_000,
        '[{"Name": "a", "Many": ' + "9" * 5000 + "}]",
    ],
    ids=lambda text: text[:20] or "empty",
)
def test_what_is_no_export_has_no_layers(text):
    read = read_inspector(text)
    assert (read.layers, read.names_only) == (None, False)


def test_an_engine_may_have_no_layers():
    assert read_inspector('{"Layers": [], "Bindings": []}').layers == ()


def test_a_text_that_is_too_long_is_refused(monkeypatch):
    text = json.dumps([PLAIN])
    monkeypatch.setattr(engine_inspector, "MAX_CHARACTERS", len(text))
    assert read_inspector(text).layers
    assert read_inspector(text + " ").layers is None


def test_keys_twice_and_raw_control_bytes_are_read():
    metadata = "[ONNX Layer: c]\x1f[ONNX Layer: d]"
    text = f'[{{"Name": "a", "Name": "b", "Inputs": [], "Metadata": "{metadata}"}}]'
    (layer,) = read_inspector(text).layers
    assert (layer.name, layer.nodes) == ("b", ("c", "d"))


def test_half_characters_are_replaced():
    text = r'[{"Name": "\ud800a", "\udc00": "\ud800", "Inputs": ["\ud800"]}]'
    read = read_inspector(text)
    assert [y.name for y in read.layers] == ["?a"]
    repr(read).encode()
    repr(read_dump(dump(row("a\ud800")))).encode()


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.data())
def test_any_value_anywhere_is_read_or_unread(data):
    tensor = {"Name": "x", "Dimensions": [1, 3], "Datatype": "Float", "Format": "Linear"}
    layer = {"Name": "a", "LayerType": "kgen", "Inputs": [tensor], "Outputs": [tensor]}
    layer |= {"TacticName": "t", "StreamId": 0, "Metadata": "[ONNX Layer: n]"}
    layer = json.loads(json.dumps(layer))
    place = data.draw(st.sampled_from([layer, layer["Inputs"][0]]))
    place[data.draw(st.sampled_from([*place, "Strides", "EventId", "Else"]))] = data.draw(plain)
    read = read_inspector(json.dumps({"Layers": [PLAIN, layer]}))
    assert len(read.layers) == 2
    assert (read.layers[1].type == "unread") == bool(read.unread)


@given(plain | st.dictionaries(st.just("Layers"), plain), st.text())
def test_any_json_and_any_text_is_read_or_refused(value, text):
    for each in (json.dumps(value), text):
        read = read_inspector(each)
        assert read.layers is None or all(layer.type is not None for layer in read.layers)


@pytest.mark.parametrize(
    ("said", "dtype"),
    [
        ("Float", "float32"),
        ("Half", "float16"),
        ("BFloat16", "bfloat16"),
        ("BF16", "bfloat16"),
        ("FP8", "float8_e4m3fn"),
        ("FP8UE8M0", "float8_e8m0fnu"),
        ("FP4", "float4_e2m1fn"),
        ("Int4", "int4"),
        ("UInt8", "uint8"),
        ("Bool", "bool"),
        ("Row major linear INT64 format (kLINEAR)", "int64"),
        ("Thirty-two wide channel vectorized row major Int8 format", "int8"),
        ("Row major linear FP32", "float32"),
        ("Unknown format", None),
        ("from Float to Half", None),
        ("", None),
    ],
)
def test_data_types(said, dtype):
    assert dtype_name(said) == dtype


# Inputs and outputs


def test_bindings_are_inputs_and_outputs_by_what_layers_do_with_them():
    x, h, y = ({"Name": n, "Dimensions": [-1, 3], "Format/Datatype": "Float"} for n in "xhy")
    layers = [
        {"Name": "a", "LayerType": "k", "Inputs": [x], "Outputs": [h]},
        {"Name": "b", "LayerType": "k", "Inputs": [h, y], "Outputs": [y]},
    ]
    read = layers_of({"Layers": layers, "Bindings": ["y", "x", "nobody's", 5, "h"]})
    assert read.inputs == (Tensor("x", "float32", (None, 3)),)
    assert [t.name for t in read.outputs] == ["y", "h"]
    assert layers_of({"Layers": layers}).inputs == ()
    assert layers_of({"Layers": ["a"], "Bindings": ["x"]}).inputs == ()


def test_io_tensors_of_tensorrt_11():
    said = {"IOMode": "Input", "DataType": "Half", "Dimensions": [-1, 3], "Location": "Device"}
    tensors = [{"Name": "x", **said}, {"Name": "y", **said, "IOMode": "Output"}]
    read = layers_of({"Layers": [PLAIN], "I/O Tensors": tensors})
    assert read.inputs == (Tensor("x", "float16", (None, 3)),)
    assert [t.name for t in read.outputs] == ["y"]
    for wrong in ({"IOMode": "Both"}, {"Name": 5}, {"Dimensions": [-2]}, {"IOMode": []}):
        said = [*tensors, tensors[0] | wrong]
        read = layers_of({"Layers": [PLAIN], "I/O Tensors": said})
        assert (len(read.layers), read.inputs, read.outputs) == (1, (), ())


def test_io_tensors_of_a_dump(real_dump):
    read = read_dump(real_dump)
    assert read.inputs == (Tensor("x", "float32", (None, 3, 64, 64)),)
    assert read.outputs == (Tensor("y", "float32", (None, 10)),)
    mode = "IOMode: Input, DataType: Float, Dimensions: [-1,"
    for damaged in (mode.replace("Input", "Both"), mode.replace("-1", "-2")):
        assert mode in real_dump
        read = read_dump(real_dump.replace(mode, damaged))
        assert (len(read.layers), read.inputs, read.outputs) == (19, (), ())


def test_ahead_of_time_layers_are_told_by_the_stub(real_dump, shared_data):
    assert built_ahead(read_dump(real_dump).layers)
    export = shared_data / "engines/cookbook_trtexec/model-trained-exportLayerInfo.log"
    assert not built_ahead(read_inspector(export.read_text()).layers)


# Writing


def plan(layers, *, verbosity="DETAILED", **parts):
    config = BuildConfig(backend="tensorrt", profiling_verbosity=verbosity)
    return making.plan(config=config, layers=tuple(layers), caveats=(), **parts)


def test_real_layers_are_read_as_they_were_written(shared_data, real_dump):
    for file in sorted(shared_data.glob("engines/*/*.graph.json")):
        read = read_inspector(file.read_text())
        made = plan(read.layers, inputs=read.inputs, outputs=read.outputs)
        assert read_inspector(layers_json(made).decode()) == read
    read = read_dump(real_dump)
    made = plan(read.layers, inputs=read.inputs, outputs=read.outputs)
    assert read_inspector(layers_json(made).decode()).layers == read.layers


def test_names_alone_are_written_as_names():
    layers = [EngineLayer(name, "", (), ()) for name in ("a", 'b"')]
    data = json.loads(layers_json(plan(layers, verbosity="LAYER_NAMES_ONLY")))
    assert data == {"Layers": ["a", 'b"'], "Bindings": ["x", "y"]}


def test_layers_that_are_not_whole_are_not_written():
    unread = Caveat("layers-unread", "No.", "Build it again.")
    for made, words in (
        (making.plan(), "onnxruntime"),
        (replace(plan([]), layers=None), "Not all layers"),
        (replace(plan([]), caveats=(unread,)), "Not all layers"),
    ):
        with pytest.raises(UnsupportedError, match=words):
            layers_json(made)


def test_any_text_may_stand_in_the_details_of_a_record():
    details = {"a": "no JSON", "b": "NaN", "c": "[" * 5000, "d": "[1]"}
    data = json.loads(layers_json(plan([EngineLayer("n", "k", (), (), details=details)])))
    (fields,) = data["Layers"]
    assert {key: fields[key] for key in details} == details | {"d": [1]}


tensors = st.builds(
    LayerTensor,
    st.text(),
    st.none() | st.sampled_from(["float32", "float16", "int8", "bool", "float8_e4m3fn"]),
    st.none() | st.lists(st.none() | st.integers(0, 2**31)).map(tuple),
    st.none() | st.sampled_from(["Row major linear format", "(Linear) Row major linear FP32"]),
    st.none() | st.lists(st.integers(0, 9)).map(tuple),
    st.none() | st.just("Device"),
).filter(lambda t: t.format is None or "FP32" not in t.format or t.dtype == "float32")


@given(st.lists(st.tuples(st.text(), st.lists(tensors), st.lists(tensors), st.text()), min_size=1))
def test_any_layers_are_read_as_they_were_written(several):
    layers = tuple(
        EngineLayer(
            name, "kgen", tuple(a), tuple(b), nodes=("n", "m"), tactic=tactic or None, stream=1
        )
        for name, a, b, tactic in several
        if "_STUB" not in tactic
    )
    assert read_inspector(layers_json(plan(layers)).decode()).layers == layers
