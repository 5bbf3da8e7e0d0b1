"""The command line: answers, exit codes, and every kind of bad input."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from trtlab.cli import main
from trtlab.codec import Int64Array, to_json
from trtlab.commands.answer import Answer
from trtlab.environment import gpu_state
from trtlab.errors import StoreError
from trtlab.record import Plan
from trtlab.store import Store
from trtlab.terminal import Bar

pytestmark = pytest.mark.native

ORT = ("--backend", "onnxruntime")
"""Without it a sweep has TensorRT's plans beside ONNX Runtime's runs."""


def answer(capsys, *arguments):
    code = main([*arguments, "--json"])
    out, _ = capsys.readouterr()
    return code, json.loads(out)


def save(path, *, shape=("N", 4), op="Relu", opset=17, **attributes):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape))
    node = helper.make_node(op, ["x"], ["y"], name="only", **attributes)
    graph = helper.make_graph([node], "g", [x], [y])
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return str(path)


def test_doctor_names_the_backend_and_what_it_cannot(capsys):
    code, data = answer(capsys, "doctor")
    assert code == 0
    backends = {b["name"]: b for b in data["backends"]}
    assert list(backends) == ["tensorrt", "tensorrt_rtx", "onnxruntime"]
    backend = backends["onnxruntime"]
    assert backend["abilities"]["fp32"]["run"]["can"]
    bf16 = backend["abilities"]["bf16"]["run"]
    assert not bf16["can"]
    assert bf16["reason"]
    assert bf16["hint"]


def test_models_lists_the_zoo(capsys):
    code, data = answer(capsys, "models")
    assert code == 0
    names = [m["name"] for m in data["models"]]
    assert {"digits", "digits_mobile", "squeezenet", "resnet50", "vit_tiny"} <= set(names)


def test_inspect_counts_nodes_and_operations(capsys):
    code, data = answer(capsys, "inspect", "zoo:digits", "--batch", "2")
    assert code == 0
    assert data["batch"] == 2
    assert sum(data["ops"].values()) == len(data["nodes"])
    assert data["total"]["flops"] > 2 * data["total"]["macs"] > 0
    assert data["total"]["origin"] == "estimated"


def test_build_bench_profile_tell_the_same_model(capsys):
    code, plan = answer(capsys, "build", "zoo:digits", "--backend", "onnxruntime")
    assert code == 0
    assert plan["plan_bytes"] > 0
    assert plan["layers"]
    code, bench = answer(
        capsys, "bench", "zoo:digits", "--quick", "--batch", "2", "--streams", "2"
    )
    assert code == 0
    assert bench["batch"] == 2
    assert bench["streams"] == 2
    assert bench["latency_ms"] > 0
    assert bench["latency_low_ms"] <= bench["latency_ms"] <= bench["latency_high_ms"]
    assert bench["contents"] == "call"
    assert bench["energy_joules"] is None
    assert bench["energy_note"]
    code, layers = answer(capsys, "profile", "zoo:digits", "--quick")
    assert code == 0
    assert layers["time_kind"] == "cpu"
    assert sum(y["share"] for y in layers["layers"]) == pytest.approx(1, abs=0.2)


def test_sweep_keeps_a_failed_point_and_takes_the_rest_from_the_store(capsys, tmp_path):
    fixed = save(tmp_path / "fixed.onnx", shape=(1, 4))
    arguments = ("sweep", "zoo:digits", fixed, "--batch", "1,2", "--quick", *ORT)
    code, data = answer(capsys, *arguments)
    assert code == 1
    failures = [p["failure"] for p in data["points"]]
    assert [f is None for f in failures] == [True, True, True, False]
    assert "fixed at 1" in failures[3]
    assert data["points"][3]["latency_ms"] is None
    code, again = answer(capsys, *arguments)
    assert [p["latency_ms"] for p in again["points"]] == [p["latency_ms"] for p in data["points"]]


def test_dynamic_batch_makes_the_fixed_model_measurable(capsys, tmp_path):
    fixed = save(tmp_path / "fixed.onnx", shape=(1, 4))
    code, data = answer(capsys, "sweep", fixed, "--batch", "3", "--dynamic-batch", "--quick", *ORT)
    assert code == 0
    assert data["points"][0]["batch"] == 3


def test_compare_by_id_and_by_file(capsys, tmp_path):
    file = tmp_path / "run.json"
    code, a = answer(capsys, "bench", "zoo:digits", "--quick", "-o", str(file))
    assert code == 0
    code, data = answer(capsys, "compare", a["id"], str(file))
    assert code == 0
    latency = data["differences"][0]
    assert latency["ratio"] == 1
    # Of a run that other programs disturbed it says "doubtful".
    assert latency["verdict"] in ("not distinguishable", "doubtful")
    assert not [c for c in data["caveats"] if c["kind"] == "different-conditions"]


def test_two_plans_are_compared_by_node_with_the_times_of_their_layers(capsys):
    plans, profiles = [], []
    for level in ("basic", "all"):
        choice = ("zoo:digits", "--backend", "onnxruntime", "--optimization-level", level)
        plans.append(answer(capsys, "build", *choice)[1]["id"])
        profiles.append(answer(capsys, "profile", *choice, "--quick")[1]["id"])
    code, data = answer(capsys, "compare", *plans)
    assert code == 0
    assert data["aligned"] == "by ONNX node"
    assert data["time_kind"] is None
    assert {"plan_bytes", "layers"} <= {d["quantity"] for d in data["differences"]}
    held = [node for match in data["matches"] for node in match["nodes"]]
    assert 0 < len(held) == len(set(held)) <= data["common_nodes"]
    code, timed = answer(capsys, "compare", *plans, "--profiles", *profiles)
    assert code == 0
    assert timed["time_kind"] == "cpu"
    assert timed["total"]["a_ms"] > 0
    assert timed["summary"]["sets"] == data["summary"]["sets"]
    assert main(["compare", *plans]) == 0
    out, _ = capsys.readouterr()
    assert "Where the difference comes from. " in out
    assert main(["compare", *plans, "--profiles", *plans]) == 2
    assert main(["compare", plans[0], profiles[0]]) == 2


def test_report_of_the_store(tmp_path):
    assert main(["sweep", "zoo:digits", "--batch", "1,2", "--quick", *ORT]) == 0
    page = tmp_path / "report.html"
    assert main(["report", "-o", str(page)]) == 0
    assert "zoo:digits" in page.read_text()
    assert main(["report", "zoo:resnet50", "-o", str(page)]) == 2


def test_netron_writes_one_page_and_says_what_it_lacks(capsys, tmp_path):
    page = tmp_path / "graph.html"
    code, data = answer(capsys, "netron", "zoo:digits", "-o", str(page))
    assert code == 0
    assert data["page"] == str(page)
    assert "11 of 52 stored tensors" in data["note"]
    assert data["note"] in page.read_text(encoding="utf-8")


def test_text_answers_say_where_numbers_come_from(capsys):
    assert main(["bench", "zoo:digits", "--quick"]) == 0
    out, _ = capsys.readouterr()
    assert "(measured)" in out
    assert "95" not in out.splitlines()[0]
    assert "n/a: this machine reports no power" in out


BAD = [
    (["bench", "missing.onnx"], "there is no such file"),
    (["bench", "."], "folder"),
    (["bench", "empty.onnx"], "empty"),
    (["bench", "text.onnx"], "text"),
    (["bench", "cut.onnx"], "cut.onnx was not opened"),
    (["bench", "future.onnx"], "opset"),
    (["bench", "unknown.onnx"], "NoSuchOp"),
    (["bench", "outside.onnx"], "outside"),
    (["bench", "nodata.onnx"], "weights.bin"),
    (["bench", "linked.onnx"], "outside"),
    (["bench", "zoo:digit"], "digits"),
    (["bench", "zoo:digits", "--batch", "0"], "at least 1"),
    (["bench", "zoo:digits", "--batch", "-3"], "at least 1"),
    (["bench", "zoo:digits", "--batch", "two"], "two"),
    (["bench", "zoo:digits", "--streams", "0"], "at least 1"),
    (["bench", "zoo:digits", "--shapes", "x:1x1x9x9"], "x"),
    (["bench", "zoo:digits", "--shapes", "nonsense"], "nonsense"),
    (["bench", "zoo:digits", "--backend", "cudnn"], "cudnn"),
    (["bench", "zoo:digits", "--activation-cap", "lots"], "lots"),
    (["bench", "fixed.onnx", "--batch", "4"], "fixed at 1"),
    (["sweep", "zoo:digits", "--batch", "1,x"], "whole numbers"),
    (["sweep", "zoo:digits", "--optimization-level", "most"], "most"),
    (["compare", "nothing", "nowhere"], "No record"),
    (["compare", "text.onnx", "text.onnx"], "not a readable record"),
    (["bench", "zoo:digits", "--batch", str(10**20)], "Batch"),
    (["bench", "zoo:digits", "--seed", str(10**23)], "Seed"),
    (["bench", "zoo:digits", "--threads", "100000"], "Threads"),
    (["bench", "zoo:digits", "--streams", "1000000"], "Streams"),
    (["inspect", "\udcff\udcfe"], "udcff"),
    (["inspect", "a" * 5000], "aaa"),
    (["compare", "\udcff", "fifo"], "udcff"),
    (["compare", "a" * 5000, "fifo"], "aaa"),
    (["compare", "fifo", "fifo"], "fifo"),
    (["compare", "/dev/zero", "fifo"], "zero"),
    (["sweep", "zoo:digits", "--shapes", "nonsense"], "nonsense"),
    (["sweep", "zoo:digits", "--activation-cap", "lots"], "lots"),
    (["sweep", "zoo:digits", "--provider", "tpu"], "tpu"),
    (["bench", "zoo:digits", "-o", "nope/x.json"], "nope/x.json cannot be written: no such file"),
    (["bench", "zoo:digits", "-o", "."], "it is a folder"),
    (["bench", "zoo:digits", "-o", ""], "it is a folder"),
    (["bench", "zoo:digits", "-o", "/dev/null"], "no ordinary file"),
    (["bench", "zoo:digits", "-o", "a" * 300], "name too long"),
    (["bench", "zoo:digits", "-o", "/proc/x.json"], "/proc/x.json"),
    (["sweep", "zoo:digits", "--json", "-o", "nope/x.html"], "nope/x.html"),
    (["demo", "-o", "nope/x.html"], "nope/x.html"),
    (["report", "-o", "nope/x.html"], "nope/x.html"),
    (["netron", "zoo:digits", "-o", "nope/x.html"], "nope/x.html"),
    (["nonsense"], "nonsense"),
    ([], "COMMAND"),
]


@pytest.fixture
def bad_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("this is not a model\n" * 10)
    whole = save(tmp_path / "whole.onnx")
    (tmp_path / "cut.onnx").write_bytes(Path(whole).read_bytes()[:-7])
    save(tmp_path / "future.onnx", opset=999)
    save(tmp_path / "unknown.onnx", op="NoSuchOp")
    save(tmp_path / "fixed.onnx", shape=(1, 4))
    secret = tmp_path.parent / f"{tmp_path.name}-secret.bin"
    secret.write_bytes(bytes(16))
    (tmp_path / "link.bin").symlink_to(secret)
    for name, location in (
        ("outside", f"../{secret.name}"),
        ("nodata", "weights.bin"),
        ("linked", "link.bin"),
    ):
        weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=location)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
        node = helper.make_node("Add", ["x", "w"], ["y"], name="add")
        graph = helper.make_graph([node], "g", [x], [y], [weight])
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (tmp_path / f"{name}.onnx").write_bytes(made.SerializeToString())
    return tmp_path


@pytest.mark.usefixtures("bad_files")
@pytest.mark.parametrize(
    ("arguments", "words"),
    BAD,
    ids=lambda v: ascii(" ".join(v))[1:50] if isinstance(v, list) else "",
)
def test_wrong_input_ends_with_2_and_says_what(arguments, words, capsys):
    begin = time.monotonic()
    try:
        code = main(arguments)
    except SystemExit as end:  # argparse's own way out
        code = end.code
    out, err = capsys.readouterr()
    assert code == 2
    assert words in err
    assert "→" in err
    assert "Traceback" not in err
    assert out == ""
    assert time.monotonic() - begin < 10


def test_a_damaged_record_is_wrong_input(tmp_path, capsys):
    whole, damaged = tmp_path / "whole.json", tmp_path / "damaged.json"
    assert main(["bench", "zoo:digits", "--quick", "-o", str(whole)]) == 0
    window = json.loads(whole.read_text())["record"]["windows"][0]
    negative = json.loads(to_json(Int64Array([-5, -7, -9])))
    for change in (
        {"windows": []},
        {"windows": [{**window, "wall_ns": 0}]},
        {"windows": [{**window, "latencies_ns": negative}]},
        {"windows": [{**window, "latencies_ns": json.loads(to_json(Int64Array()))}]},
        {"steady_from": 99},
        {"steady_from": -1},
    ):
        data = json.loads(whole.read_text())
        data["record"] |= change
        damaged.write_text(json.dumps(data))
        capsys.readouterr()
        assert main(["compare", str(whole), str(damaged)]) == 2, change
        out, err = capsys.readouterr()
        assert out == ""
        assert "damaged.json" in err, change
        assert "fault of trtlab" not in err


NASTY = "<img src=x onerror=alert(1)>\x1b[31m$(touch pwned);`id`'\""


def test_nasty_names_stay_text(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info(NASTY, TensorProto.FLOAT, ["N", 4])
    node = helper.make_node("Relu", ["x"], [NASTY], name=NASTY)
    graph = helper.make_graph([node], NASTY, [x], [y])
    file = tmp_path / "<b>na'me$(id).onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)
    page = tmp_path / "page.html"
    for arguments in (
        ["inspect", str(file)],
        ["sweep", str(file), "--quick", "-o", str(page), *ORT],
        ["profile", str(file), "--quick"],
    ):
        assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "onerror" in out
    assert "<img" not in page.read_text()
    assert "<b>na" not in page.read_text()
    assert not (tmp_path / "pwned").exists()


def test_a_model_larger_than_memory_ends_with_1(tmp_path, capsys):
    huge = tmp_path / "huge.onnx"
    with huge.open("wb") as file:
        file.truncate(psutil.virtual_memory().total * 2)  # sparse: takes no room on the disk
    assert main(["bench", str(huge)]) == 1
    assert "memory" in capsys.readouterr().err


def test_an_unwritable_store_ends_with_1(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRTLAB_HOME", str(tmp_path / "file" / "below"))
    assert main(["bench", "zoo:digits", "--quick"]) == 1
    assert "TRTLAB_HOME" in capsys.readouterr().err


def test_a_store_of_a_newer_trtlab_ends_with_1(capsys):
    import sqlite3

    store = Store()
    with sqlite3.connect(store.home / "index.sqlite") as index:
        index.execute("PRAGMA user_version = 99")
    index.close()
    assert main(["bench", "zoo:digits", "--quick"]) == 1
    assert "newer trtlab" in capsys.readouterr().err


def test_a_disk_that_fills_up_loses_no_result(monkeypatch, capsys):
    assert main(["build", "zoo:digits", "--backend", "onnxruntime"]) == 0
    capsys.readouterr()

    def full(_self, _path, _data):
        raise StoreError("The disk is full.", hint="Free some.")

    monkeypatch.setattr(Store, "_write", full)
    code, data = answer(capsys, "bench", "zoo:digits", "--quick")
    assert code == 1
    assert data["latency_ms"] > 0
    assert "not-saved" in [c["kind"] for c in data["caveats"]]


def test_a_file_that_cannot_be_written_after_all_loses_no_answer(tmp_path, monkeypatch, capsys):
    def full(*_arguments, **_more):
        raise StoreError("The disk is full.", hint="Free some.")

    monkeypatch.setattr("trtlab.store.write_record", full)
    monkeypatch.setattr("trtlab.views.pages.report.report", full)
    monkeypatch.setattr("trtlab.commands.machine.DEMO_MODELS", ("zoo:digits",))
    monkeypatch.setattr("trtlab.commands.machine.DEMO_BATCHES", (1,))
    commands = {"bench": ["zoo:digits", "--quick"], "sweep": ["zoo:digits"], "demo": []}
    # A table of one model has no column for its name.
    shown = {"bench": "zoo:digits", "sweep": "onnxruntime", "demo": "onnxruntime"}
    for command, arguments in commands.items():
        assert main([command, *arguments, "-o", str(tmp_path / "answer")]) == 1
        out, err = capsys.readouterr()
        assert shown[command] in out
        assert str(tmp_path) not in out
        assert "The disk is full.\n  → Free some." in err


def test_an_answer_that_cannot_be_written_ends_with_1():
    with Path("/dev/full").open("w") as full:
        done = trtlab("models", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "trtlab: The answer was not written" in done.stderr
    assert "Exception" not in done.stderr


def trtlab(*arguments, code="from trtlab.cli import main; raise SystemExit(main())", **more):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, text=True, timeout=60, check=False, **more)


@pytest.mark.parametrize("setting", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONCOERCECLOCALE": "0"}])
def test_an_output_without_utf_8_gets_escapes(setting):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", **setting}
    for arguments in (("bench", "zoo:digits", "--quick"), ("models",), ("bench", "nothing")):
        done = trtlab(*arguments, env=environment, capture_output=True)
        assert done.returncode == (2 if "nothing" in arguments else 0), done.stderr
        assert (done.stdout + done.stderr).isascii()
        assert "Error:" not in done.stderr
    assert r"\u2192" in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_change_no_exit_code(closed):
    for arguments, code in (("bench zoo:digits --quick", 0), ("bench nothing", 2), ("--help", 0)):
        line = f"{sys.executable} -m trtlab {arguments} {closed}"
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        assert done.returncode == code, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


def test_json_is_printable_ascii_and_keeps_its_numbers(capsys, monkeypatch):
    text = '\x9b31m \x7f \u202e é 𝄞 \\ " \n'
    data = {"name": text, text: [1e-7, 0.1, 1e22, 2**63, -0.0, None, True]}
    monkeypatch.setattr("trtlab.commands.parser.run_models", lambda _options: Answer(data, text))
    assert main(["models", "--json"]) == 0
    out, _ = capsys.readouterr()
    assert out.endswith("\n")
    assert out[:-1].isascii()
    assert out[:-1].isprintable()
    assert repr(json.loads(out)) == repr(data)
    assert main(["models"]) == 0
    assert "\x9b" not in capsys.readouterr().out


def test_points_of_a_sweep_can_be_compared(capsys, tmp_path):
    fixed = save(tmp_path / "fixed.onnx", shape=(1, 4))
    settings = ("--provider", "cpu", "--activation-cap", "64MiB", "--seed", "3")
    arguments = ("--batch", "1,2", "--quick", *settings)
    code, data = answer(capsys, "sweep", "zoo:digits", fixed, *arguments, *ORT)
    assert code == 1
    a, b, _, failed = data["points"]
    assert failed["id"] is None
    assert a["id"] != b["id"]
    code, compared = answer(capsys, "compare", a["id"], b["id"])
    assert code == 0
    assert "activation cap 64.0 MiB" in compared["a"]
    shapes = ("--shapes", "x:5x4", "--quick")
    code, data = answer(capsys, "sweep", save(tmp_path / "free.onnx"), *shapes, *ORT)
    assert code == 0
    assert data["points"][0]["batch"] == 5


def test_ctrl_c_while_it_starts_leaves_no_traceback(monkeypatch, capsys):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("trtlab.commands.parser.parser", stop)
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "Stopped. What was finished is in the store.\n"


def test_little_is_imported_before_ctrl_c_is_caught_and_nothing_heavy_for_help():
    heavy = "onnx onnxruntime numpy pandas plotly ipywidgets anywidget msgspec tqdm"
    code = f"""
import sys
from trtlab.cli import main
early = {{"argparse", "dataclasses", "trtlab.commands"}} & set(sys.modules)
try:
    main(["--help"])
except SystemExit as end:
    print(end.code, early, set({heavy.split()}) & set(sys.modules))
"""
    done = trtlab(code=code, capture_output=True)
    assert done.stdout.splitlines()[-1] == "0 set() set()", done.stderr


def test_ctrl_c_says_how_many_points_are_kept():
    measured = SimpleNamespace(median_ms=1.0, batch=1, caveats=())
    lost = SimpleNamespace(median_ms=1.0, batch=1, caveats=(SimpleNamespace(kind="not-saved"),))
    run = SimpleNamespace(batch=1, streams=1)
    failure = SimpleNamespace(message="no")

    def words(*measurements):
        bar = Bar()
        for i, m in enumerate(measurements):
            point = SimpleNamespace(
                measurement=m, plan=None, model=SimpleNamespace(name="m", recipe="fp32"), run=run,
                from_store=False, failure=None if m else failure,
            )  # fmt: skip
            bar.on_point(i + 1, 10, point)
        return bar.last_words()

    assert words() == ""
    assert words(measured) == "Stopped after 1 of 10 points. It is kept."
    assert words(*[measured] * 3) == "Stopped after 3 of 10 points. The 3 are kept."
    said = "Stopped after 3 of 10 points. 1 of them is kept."
    assert words(measured, lost, None) == said
    said = "Stopped after 2 of 10 points. None of them is kept."
    assert words(None, None) == said


def test_ctrl_c_keeps_finished_points_and_ends_with_130(tmp_path):
    environment = {**os.environ, "TRTLAB_HOME": str(tmp_path)}
    command = [
        sys.executable, "-m", "trtlab", "sweep", "zoo:digits", *ORT, "--batch", "1,2,3,4,5,6"
    ]  # fmt: skip
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    first = process.stderr.readline()
    assert first.startswith("[1/6]")
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert re.fullmatch(r"Stopped after \d of 6 points\. .+ kept\.", rest.splitlines()[-1])
    begin = time.monotonic()
    repeat = [*command[:-1], "1", "--json"]
    said = subprocess.run(repeat, env=environment, capture_output=True, text=True, check=True)
    assert "from store" in said.stderr
    assert time.monotonic() - begin < 10


def test_the_demo_writes_one_offline_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("trtlab.commands.machine.DEMO_MODELS", ("zoo:digits",))
    monkeypatch.setattr("trtlab.commands.machine.DEMO_BATCHES", (1, 2))
    page = tmp_path / "demo.html"
    assert main(["demo", "-o", str(page)]) == 0
    text = page.read_text()
    assert "Time per layer" in text
    assert str(page) in capsys.readouterr().out


def test_lab_serves_the_notebook_on_loopback_and_phones_nobody(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda program, command: started.append((program, command)))
    main(["lab", "--no-browser"])
    ((program, command),) = started
    assert program == sys.executable
    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--no-browser" in command
    assert "--LabApp.news_url=None" in command
    assert any("00_workbench.ipynb" in part for part in command)
    assert not any("token" in part for part in command), "the server makes a token of its own"


def test_lab_as_json_starts_nothing(capsys, monkeypatch):
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("started"))
    code, data = answer(capsys, "lab", "--port", "9999")
    assert code == 0
    assert data["command"][:3] == [sys.executable, "-m", "jupyterlab"]
    assert "--ServerApp.port=9999" in data["command"]


def test_a_module_beside_a_model_is_not_imported_by_dash_m(tmp_path):
    save(tmp_path / "small.onnx")
    for name in ("onnx.py", "numpy.py"):
        (tmp_path / name).write_text("import pathlib; pathlib.Path('pwned').touch()")
    done = subprocess.run(
        [sys.executable, "-m", "trtlab", "inspect", "small.onnx"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "pwned").exists()


# TensorRT


def test_doctor_says_of_each_backend_what_it_cannot_and_what_to_do(capsys):
    code, data = answer(capsys, "doctor")
    assert code == 0
    for backend in data["backends"]:
        for ability in backend["abilities"].values():
            for what in (ability["build"], ability["run"]):
                assert bool(what["reason"]) is bool(what["hint"]) is not what["can"]
    if not gpu_state().usable:
        for backend in data["backends"][:2]:
            assert not any(a["run"]["can"] for a in backend["abilities"].values())
            assert "current" not in backend["targets"]
        assert main(["doctor"]) == 0
        assert gpu_state().reason in capsys.readouterr().out


@pytest.mark.usefixtures("rtx")
def test_build_for_gpus_that_are_not_here_tells_what_was_built(capsys, shared_data):
    model = str(shared_data / "aot" / "m.onnx")
    ways = ("--target", "sm89,sm120", "--workspace", "64MiB", "--batch", "1,8,16")
    code, data = answer(capsys, "build", model, *ways)
    assert code == 0
    assert data["backend"] == "tensorrt_rtx"
    assert data["target"] == "sm89+sm120"
    assert data["workspace_bytes"] == 2**26
    shapes = [[b, 3, 64, 64] for b in (1, 8, 16)]
    assert data["profiles"] == [{"x": shapes}]
    # The README beside the model tells of 19 layers on 3 streams, and of this memory.
    assert len(data["layers"]) == 19
    assert data["streams"] == 3
    assert data["memory"]["activation"] == 29_818_880
    assert data["memory"]["weights"] == 96_128
    file = Store().plan_path(data["plan"])
    assert data["plan_bytes"] == file.stat().st_size
    assert data["build_seconds"] > 0
    assert data["peak_rss_bytes"] > 2**20
    assert data["caveats"] == []
    assert {n for y in data["layers"] for n in y["nodes"]} >= {"c1", "cat", "add", "fc", "sm"}
    assert main(["build", model, *ways, "--layers"]) == 0
    out, _ = capsys.readouterr()
    assert "sm89+sm120" in out
    assert "c2_myl0_14" in out


@pytest.mark.usefixtures("rtx")
def test_every_setting_of_a_build_reaches_the_plan(capsys, tmp_path):
    model = save(tmp_path / "small.onnx")
    flags = ("--flag", "DEBUG", "--flag", "SPARSE_WEIGHTS", "--memory-pool", "TACTIC_DRAM:1GiB")
    code, data = answer(
        capsys, "build", model, "--backend", "tensorrt_rtx", "--optimization-level", "2",
        "--no-tf32", "--avg-timing", "3", "--max-tactics", "4", "--aux-streams", "1", *flags,
        "--tactic-sources", "JIT_CONVOLUTIONS", "--no-timing-cache", "--verbosity", "NONE",
        "--min-shapes", "x:2x4", "--opt-shapes", "x:3x4", "--max-shapes", "x:5x4",
    )  # fmt: skip
    assert code == 0
    config = next(Store().all(Plan)).config
    assert config.optimization_level == data["optimization_level"] == 2
    assert config.flags == ("DEBUG", "SPARSE_WEIGHTS")
    assert config.tf32 is False
    assert config.avg_timing_iterations == 3
    assert config.max_num_tactics == 4
    assert config.aux_streams == 1
    assert config.memory_pools == {"TACTIC_DRAM": 2**30}
    assert config.tactic_sources == ("JIT_CONVOLUTIONS",)
    assert config.timing_cache is False
    assert config.profiling_verbosity == "NONE"
    assert config.profiles == ({"x": ((2, 4), (3, 4), (5, 4))},)
    assert [c["kind"] for c in data["caveats"]] == ["layers-unread"]


WRONG_BUILDS = [
    (["--target", "sm90"], "no target sm90"),
    (["--target", "89"], "no target"),
    (["--flag", "FP16"], "FP16"),
    (["--dla-core", "0"], "DLA core 0"),
    (["--workspace", "0"], "positive"),
    (["--workspace=-1"], "-1"),
    (["--workspace", "2048GiB"], "workspace"),
    (["--memory-pool", "1GiB"], "memory pool"),
    (["--batch", "8,4,16"], "do not grow"),
    (["--batch", "1,8"], "one batch size or three"),
    (["--min-shapes", "x:1x4"], "--opt-shapes"),
    (["--shapes", "x:1x4", "--min-shapes", "x:1x4"], "Give --shapes, or"),
    (["--plugin", "nowhere.so"], "nowhere.so"),
    (["--verbosity", "ALL"], "ALL"),
    (["--optimization-level", "7"], "optimization level"),
    (["--backend", "onnxruntime", "--target", "sm89"], "target"),
]


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(("arguments", "words"), WRONG_BUILDS, ids=lambda v: str(v)[:40])
def test_a_build_that_cannot_be_ends_with_2_and_the_reason(arguments, words, tmp_path, capsys):
    model = save(tmp_path / "small.onnx")
    backend = [] if "--backend" in arguments else ["--backend", "tensorrt_rtx"]
    try:
        code = main(["build", model, *backend, *arguments])
    except SystemExit as end:  # argparse's own way out
        code = end.code
    out, err = capsys.readouterr()
    assert code == 2
    assert words in err
    assert "→" in err
    assert "Traceback" not in err
    assert out == ""
    assert list(Store().all(Plan)) == []


@pytest.mark.usefixtures("rtx")
def test_a_workspace_that_is_too_small_ends_with_1(capsys):
    assert main(["build", "zoo:digits", "--target", "sm89", "--workspace", "1KiB"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "1,024 bytes are allowed" in err
    assert "→ Raise the workspace" in err


@pytest.mark.usefixtures("rtx")
def test_inspect_lists_the_nodes_that_a_parser_refuses(capsys, tmp_path):
    model = save(tmp_path / "det.onnx", shape=(3, 3), op="Inverse", domain="com.microsoft")
    made = onnx.load(model)
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(made, model)
    code, data = answer(capsys, "inspect", model, "--backend", "tensorrt_rtx")
    assert code == 0
    assert data["backend"] == "tensorrt_rtx"
    (verdict,) = data["verdicts"]
    assert (verdict["node"], verdict["op"], verdict["verdict"]) == ("only", "Inverse", "refused")
    assert verdict["reason"]
    assert verdict["hint"]
    assert main(["inspect", model, "--backend", "tensorrt_rtx"]) == 0
    assert "only (Inverse)" in capsys.readouterr().out
    assert main(["inspect", model, "--backend", "onnxruntime"]) == 2


@pytest.mark.usefixtures("rtx")
def test_workspace_tells_every_limit_and_writes_a_page(capsys, tmp_path):
    page = tmp_path / "page.html"
    ways = ("--limits", "1KiB,64MiB", "--target", "sm89", "--batch", "1,2,4")
    code, data = answer(capsys, "workspace", "zoo:digits", *ways, "-o", str(page))
    assert code == 0
    assert data["target"] == "sm89"
    limits = [p["limit_bytes"] for p in data["points"]]
    assert limits == [*sorted(limits[:-1]), None]
    assert {2**10, 2**26} <= set(limits)
    assert data["failing_bytes"] < data["smallest_bytes"]
    assert data["smallest_bytes"] - data["failing_bytes"] <= 2**20
    assert data["engines"] >= 1
    for point in data["points"]:
        assert (point["plan"] is None) is (point["failure"] is not None)
        assert point["latency_ms"] is None or gpu_state().usable
    assert "What the workspace limit changes" in page.read_text()
    assert main(["workspace", "zoo:digits", *ways]) == 0
    out, _ = capsys.readouterr()
    assert "1.00 KiB" in out
    assert "smallest limit that builds" in out
    assert main(["workspace", "zoo:digits", "--backend", "onnxruntime"]) == 2


@pytest.mark.usefixtures("rtx")
@pytest.mark.skipif(gpu_state().usable, reason="there is a GPU to run plans on")
class TestWithoutAGpu:
    @pytest.mark.parametrize("command", ["bench", "profile"])
    def test_a_plan_for_another_gpu_ends_with_2_and_why(self, command, capsys):
        for ways in (["--target", "sm89"], []):
            assert main([command, "zoo:digits", "--backend", "tensorrt_rtx", *ways]) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert "built by tensorrt_rtx for sm89, cannot run here" in err
            assert gpu_state().reason[1:] in err
            assert "→" in err

    def test_a_sweep_gives_plans_without_measurements(self, capsys):
        arguments = ("sweep", "zoo:digits", "--backend", "tensorrt_rtx", "--batch", "1,2,4")
        code, data = answer(capsys, *arguments, "--workspace", "32MiB,64MiB", "--target", "sm86")
        assert code == 0
        assert [p["workspace_bytes"] for p in data["points"]] == [2**25, 2**26]
        for point in data["points"]:
            assert point["plan_bytes"] > 0
            assert point["build_seconds"] > 0
            assert point["target"] == "sm86"
            assert point["latency_ms"] is None
            assert point["failure"] is None
        assert {p.config.profiles[0]["image"].max[0] for p in Store().all(Plan)} == {4}

    def test_a_point_that_holds_a_plan_is_not_called_failed(self, capsys):
        assert main(["sweep", "zoo:digits", "--backend", "tensorrt_rtx"]) == 0
        assert "failed" not in capsys.readouterr().err


def recorded(folder, names="ab"):
    """Files of a small engine, as trtexec writes them."""
    layers = [{"Name": n, "LayerType": "conv", "Inputs": [], "Outputs": []} for n in names]
    times = {"timeMs": 2.0, "averageMs": 0.5, "medianMs": 0.5, "percentage": 50}
    files = {
        "layers.json": {"Layers": layers, "Bindings": []},
        "profile.json": [{"count": 4}, *({"name": n, **times} for n in "ab")],
        "times.json": [
            {"startH2dMs": 3 * n, "computeMs": 2.0, "latencyMs": 2.0, "endD2hMs": 3 * n + 2}
            for n in range(10)
        ],
    }
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return str(folder)


def test_import_keeps_what_other_commands_take(capsys, tmp_path):
    code, data = answer(capsys, "import", recorded(tmp_path / "net"))
    assert code == 0
    assert (data["model"], data["layers"], data["timed_layers"]) == ("net", 2, 2)
    assert (data["layers_sum_ms"], data["latency_ms"], data["n"]) == (1.0, 2.0, 10)
    assert data["environment"]["machine"] is None
    assert set(data["ids"]) == {"plan", "layer-profile", "measurement"}
    for identity in data["ids"].values():
        assert Store().find(identity).source == "recorded"
    run = data["ids"]["measurement"]
    code, compared = answer(capsys, "compare", run, run)
    assert code == 0
    assert compared["differences"][0]["ratio"] == 1
    code, _ = answer(capsys, "report", "-o", str(tmp_path / "report.html"))
    assert code == 0
    assert main(["import", str(tmp_path / "net"), "--name", "other"]) == 0
    text = capsys.readouterr().out
    assert "2 of 2, joined by name" in text
    assert re.search(r"^plan id +[0-9a-f]{12}$", text, re.MULTILINE)


def test_export_writes_what_import_reads(capsys, tmp_path):
    _, data = answer(capsys, "import", recorded(tmp_path / "net"))
    forms = {"plan": "layers", "layer-profile": "profile", "measurement": "times"}
    written = []
    for kind, form in forms.items():
        file = tmp_path / f"{form}.json"
        arguments = ("export", data["ids"][kind], "--as", form, "-o", str(file))
        code, said = answer(capsys, *arguments)
        assert (code, said["kind"]) == (0, kind)
        written.append(str(file))
    code, again = answer(capsys, "import", *written, "--name", "net")
    assert code == 0
    ignored = {"ids", "schema_version"}
    assert {k: v for k, v in again.items() if k not in ignored} == {
        k: v for k, v in data.items() if k not in ignored
    }


def test_import_and_export_refuse_what_does_not_fit(capsys, tmp_path):
    folder = recorded(tmp_path / "net")
    out = str(tmp_path / "out.json")
    other = recorded(tmp_path / "other", "abc")
    _, data = answer(capsys, "import", folder)
    plan = data["ids"]["plan"]
    for words, *arguments in (
        ("both hold layers", "import", folder, other),
        ("'c'", "import", f"{other}/layers.json", f"{folder}/profile.json"),
        ("was not opened", "import", str(tmp_path / "missing")),
        ("cannot be exported as times", "export", plan, "--as", "times", "-o", out),
        ("No record begins", "export", "0" * 12, "-o", out),
        ("cannot be written", "export", plan, "-o", str(tmp_path)),
    ):
        assert main(arguments) == 2
        assert words in capsys.readouterr().err
    assert not Path(out).exists()


def test_fusion_shows_explains_and_draws(capsys, tmp_path):
    page = tmp_path / "page.html"
    settings = ("zoo:digits", "--backend", "onnxruntime", "--optimization-level", "extended")
    code, found = answer(capsys, "fusion", *settings, "-o", str(page))
    assert code == 0
    assert found["summary"]["unexplained_share"] == 0
    assert len(found["nodes"]) == 37
    assert {node["state"] for node in found["nodes"]} == {"in layer"}
    assert {"name", "type", "family", "saved_bytes"} <= set(found["layers"][0])
    assert page.read_text().startswith("<!doctype html>")
    assert main(["fusion", *settings, "--explain", "/Flatten"]) == 0
    assert capsys.readouterr().out.startswith("/Flatten (Flatten)")
    assert main(["fusion", *settings, "--explain", "nothing"]) == 2
    assert "no node and no layer 'nothing'" in capsys.readouterr().err
    assert main(["fusion", *settings, "--time", "--layers"]) == 0
    assert "ONNX nodes" in capsys.readouterr().out


def test_fusion_of_a_plan_and_of_files(capsys, shared_data):
    _, built = answer(capsys, "build", "zoo:digits", "--backend", "onnxruntime")
    code, found = answer(capsys, "fusion", built["id"])
    assert (code, found["graph_source"]) == (0, "model")
    folder = str(shared_data / "engines" / "pytorch_resnet_A100_fp16")
    code, found = answer(capsys, "fusion", folder)
    assert (code, found["graph_source"], found["time_kind"]) == (0, "names", "gpu")
    assert sum(layer["time_share"] for layer in found["layers"]) == pytest.approx(1)
    _, measured = answer(capsys, "bench", "zoo:digits", "--quick")
    assert main(["fusion", measured["id"]]) == 2
    assert "is a measurement, not a plan" in capsys.readouterr().err


def test_what_a_command_reads_is_not_written_over(capsys, tmp_path):
    model = tmp_path / "mine.onnx"
    shutil.copy(trtlab_path("digits"), model)
    before = model.read_bytes()
    for command in ("fusion", "netron"):
        assert main([command, str(model), "-o", str(model)]) == 2
        assert "it is what the command reads" in capsys.readouterr().err
    assert model.read_bytes() == before


def test_settings_of_a_build_are_refused_for_a_plan(capsys):
    _, built = answer(capsys, "build", "zoo:digits", "--backend", "onnxruntime")
    assert main(["fusion", built["id"], "--target", "sm89"]) == 2
    assert "--target cannot change it" in capsys.readouterr().err
    assert main(["fusion", "zoo:digits", "--onnx", "x.onnx"]) == 2
    assert "explained alone" in capsys.readouterr().err


def trtlab_path(name):
    from trtlab.zoo.catalogue import shipped_path

    return shipped_path(name)
