"""``%trtlab_bench`` and ``%%trtlab_profile`` in a shell, as its user types them."""

import atexit
import subprocess
import sys
from inspect import signature

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from trtlab.commands.options import bench_settings, profile_settings
from trtlab.commands.parser import parser
from trtlab.record import LayerProfile, Measurement
from trtlab.verbs.benchmark import benchmark
from trtlab.verbs.build import build
from trtlab.verbs.load import load
from trtlab.verbs.profile import profile

ORT = "--backend onnxruntime"


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    # A shell puts its own module in the place of the program's, which others need.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    made = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    assert made.run_cell("%load_ext trtlab").success
    yield made
    made.atexit_operations()
    atexit.unregister(made.atexit_operations)


def refused(shell, cell):
    """Run a cell that must be refused: what is shown on stderr, without a traceback."""
    done = shell.run_cell(cell)
    assert isinstance(done.error_in_exec, UsageError), done
    return str(done.error_in_exec)


@pytest.mark.native
def test_bench_returns_its_record_and_underscore_has_it(shell, capsys):
    done = shell.run_cell(f"%trtlab_bench zoo:digits --batch 2 --streams 2 --quick {ORT}")
    assert done.success, done
    assert isinstance(done.result, Measurement)
    run = done.result.run
    assert (done.result.batch, run.streams, run.quick) == (2, 2, True)
    assert shell.run_cell("_.n").result == done.result.n
    assert "latency" in capsys.readouterr().out


@pytest.mark.native
def test_a_variable_is_the_model_and_a_plan_is_not_built_again(shell):
    model = load("zoo:digits")
    shell.user_ns.update(
        model=model, plan=build(model, backend="onnxruntime"), name="zoo:digits", digits=None
    )
    done = shell.run_cell(f"made = %trtlab_bench model --quick {ORT}")
    assert done.success, done
    assert shell.user_ns["made"].model.hash == model.hash
    done = shell.run_cell("%trtlab_bench plan --batch 4 --quick")
    assert done.result.batch == 4
    assert shell.run_cell(f"%trtlab_bench name --quick {ORT}").result.model.name == "zoo:digits"
    assert "A NoneType is not a model" in refused(shell, "%trtlab_bench digits")
    said = refused(shell, "%trtlab_bench plan --workspace 1MiB --dynamic-batch --quick")
    assert "built already: --dynamic-batch, --workspace cannot change it" in said


@pytest.mark.native
def test_the_cell_is_run_and_what_it_ends_with_is_profiled(shell):
    cell = f"%%trtlab_profile --batch 2 --quick {ORT}\nname = 'digits'\nf'zoo:{{name}}'"
    done = shell.run_cell(cell)
    assert done.success, done
    assert isinstance(done.result, LayerProfile)
    assert (done.result.batch, done.result.model.name) == (2, "zoo:digits")
    assert shell.user_ns["name"] == "digits"
    assert shell.run_cell("_.layers").result == done.result.layers


@pytest.mark.native
def test_a_line_profiles_what_it_names(shell):
    shell.user_ns["plan"] = build("zoo:digits", backend="onnxruntime")
    done = shell.run_cell("%trtlab_profile plan --quick")
    assert done.result.plan == shell.user_ns["plan"].hash


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%trtlab_bench", "The following arguments are required: MODEL."),
        ("%trtlab_bench zoo:nothing", "nothing"),
        ("%trtlab_bench zoo:digits --batch two", "invalid int value: 'two'"),
        ("%trtlab_bench zoo:digits --speed 9", "%trtlab_bench --help"),
        ("%trtlab_bench 'not closed", "No closing quotation"),
        ("%trtlab_bench zoo:digits --json", "belong to the command line"),
        ("%trtlab_bench zoo:digits -o run.json", "belong to the command line"),
        (f"%trtlab_bench missing.onnx {ORT}", "there is no such file"),
        ("%%trtlab_profile\nmodel = 1", "The cell's last line has no value"),
        ("%%trtlab_profile zoo:digits\n1", "Unrecognized arguments: zoo:digits."),
        (f"%%trtlab_profile {ORT}\n1 + 1", "A int is not a model"),
        (f"%%trtlab_profile {ORT}\nimport trtlab\ntrtlab.load('missing.onnx')", "no such file"),
    ],
)
def test_what_is_wrong_is_told_without_a_traceback(shell, capsys, cell, said):
    assert said in refused(shell, cell)
    out, err = capsys.readouterr()
    assert said in out + err
    assert "Traceback" not in out + err


def test_a_wrong_option_is_told_before_the_cell_runs(shell):
    refused(shell, "%%trtlab_profile --speed 9\nran = True\n'zoo:digits'")
    refused(shell, "%%trtlab_profile\nran = True")
    assert "ran" not in shell.user_ns


def test_an_error_of_the_cell_itself_keeps_its_traceback(shell, capsys):
    done = shell.run_cell("%%trtlab_profile\nmodel = 1 / 0\nmodel")
    assert isinstance(done.error_in_exec, ZeroDivisionError)
    out, err = capsys.readouterr()
    assert "model = 1 / 0" in out + err, "the line of the cell is shown"


def test_help_prints_the_options_and_gives_nothing(shell, capsys):
    for line in ("%trtlab_bench --help", "%trtlab_profile --help", "%%trtlab_profile -h\n1 / 0"):
        done = shell.run_cell(line)
        assert done.success
        assert done.result is None
        assert "--batch" in capsys.readouterr().out


def test_the_question_mark_shows_what_they_are_for(shell):
    for name, words in (("trtlab_bench", "as the last line"), ("trtlab_profile", "runs the cell")):
        assert words in " ".join(shell.object_inspect_text(name).split())


@pytest.mark.parametrize(
    ("command", "settings", "verb"),
    [("bench", bench_settings, benchmark), ("profile", profile_settings, profile)],
)
def test_the_settings_are_those_of_the_verb(command, settings, verb):
    asked = settings(parser().parse_args([command, "m", "--batch", "3", "--quick"]))
    assert (asked["batch"], asked["quick"], asked["shapes"]) == (3, True, {})
    offered = set(signature(verb).parameters) - {"plan", "store", "progress", "cancel"}
    assert set(asked) == offered - ({"seed"} if verb is profile else set())


def test_loading_the_package_does_not_load_ipython():
    code = "import trtlab, sys; trtlab.load_ipython_extension; print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"
