"""Which commands and options there are."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from trtlab.commands.accuracy import accuracy_arguments, run_accuracy
from trtlab.commands.answer import Answer
from trtlab.commands.convert import (
    calibration_arguments,
    convert_arguments,
    precision_arguments,
    run_convert,
)
from trtlab.commands.explain import run_compare, run_fusion, run_inspect, run_netron, run_report
from trtlab.commands.files import run_export, run_import
from trtlab.commands.machine import run_demo, run_doctor, run_lab, run_models
from trtlab.commands.measure import run_bench, run_build, run_profile, run_sweep, run_workspace
from trtlab.spec import OPTIMIZATION_LEVELS, VERBOSITIES
from trtlab.terminal import harmless


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """Exit with 2 and say which command's help to read."""
        self.exit(2, harmless(f"trtlab: {message}\n  → {self.prog} --help\n"))


def parser() -> argparse.ArgumentParser:
    """Return the parser; the options it returns hold the command as ``run``."""
    made = _Parser(
        prog="trtlab",
        description="Build, measure and explain ONNX models with TensorRT and ONNX Runtime.",
        epilog="Exit codes: 0; 1 the job or machine failed; 2 wrong input; 130 Ctrl-C.",
    )
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], Answer],
        text: str,
        json: str = "print one JSON document",
    ) -> Any:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help=json)
        return command

    add("doctor", run_doctor, "say what this machine can do")
    add("models", run_models, "list the models that come with trtlab")
    command = add(
        "inspect", run_inspect, "say what a model is made of, with FLOP and bytes per node"
    )
    _model_arguments(command)
    _shape_arguments(command)
    command.add_argument("--backend", help="tensorrt or tensorrt_rtx: ask which nodes it takes")
    command = add("convert", run_convert, "rewrite a model in another precision")
    convert_arguments(command)
    command = add("accuracy", run_accuracy, "say how far a model's outputs are from a reference's")
    accuracy_arguments(command)
    command = add("build", run_build, "build a plan")
    _model_arguments(command)
    _build_arguments(command)
    _range_arguments(command)
    command.add_argument("--layers", action="store_true", help="also list the plan's layers")
    command.add_argument("-o", "--output", metavar="FILE", help="also write the plan there")
    command = add("bench", run_bench, "measure latency, throughput and memory")
    _model_arguments(command)
    _build_arguments(command)
    _shape_arguments(command)
    _run_arguments(command)
    command.add_argument("--streams", type=int, default=1, help="inferences in flight at once")
    _memory_and_seed_arguments(command)
    command.add_argument(
        "--cuda-graph", action=argparse.BooleanOptionalAction,
        help="TensorRT: replay a CUDA graph; default: yes where it can be captured",
    )  # fmt: skip
    command.add_argument(
        "--transfers", action="store_true", help="TensorRT: count copies to and from the GPU"
    )
    command.add_argument(
        "-o", "--output", metavar="FILE", help="write the record with all samples"
    )
    command = add("profile", run_profile, "time every layer")
    _model_arguments(command)
    _build_arguments(command)
    _shape_arguments(command)
    _run_arguments(command)
    command = add(
        "workspace", run_workspace, "find out what the limit of TensorRT's workspace changes"
    )
    _model_arguments(command)
    command.add_argument("--limits", metavar="16MiB,…", help="default: 1MiB to 1GiB by fours")
    command.add_argument("--backend", help="tensorrt or tensorrt_rtx; default: the first that can")
    command.add_argument("--target", metavar="sm89,…", help="default: the GPU here, else sm89")
    _range_arguments(command)
    command.add_argument("--quick", action="store_true", help="short windows where plans run")
    command.add_argument("-o", "--output", metavar="FILE", help="also write an HTML report")
    command = add(
        "sweep", run_sweep, "measure every combination of settings; finished ones are kept"
    )
    command.add_argument("models", nargs="+", metavar="MODEL")
    command.add_argument("--precision", metavar="fp32,int8,…", help="recipes, as for convert")
    calibration_arguments(command.add_argument)
    command.add_argument("--tool", choices=("modelopt",), help="convert with NVIDIA's ModelOpt")
    command.add_argument("--data", metavar="DATA", help="what accuracy is judged by; default: the "
                         "zoo's held-out images where it has some")  # fmt: skip
    command.add_argument("--labels", metavar="FILE", help="labels of that data")
    command.add_argument("--batch", metavar="1,8,32", help="batch sizes")
    command.add_argument("--streams", metavar="1,2", help="inferences in flight at once")
    command.add_argument("--threads", metavar="1,2", help="threads inside one inference")
    command.add_argument(
        "--optimization-level", metavar="LEVELS", help=f"of {','.join(OPTIMIZATION_LEVELS)}"
    )
    command.add_argument("--backend", help="default: the first that can run here")
    command.add_argument("--workspace", metavar="16MiB,…", help="TensorRT: workspace limits")
    command.add_argument("--target", metavar="sm89,…", help="TensorRT: GPUs to build for")
    _provider_argument(command)
    _shapes_argument(command)
    _memory_and_seed_arguments(command)
    command.add_argument("--dynamic-batch", action="store_true", help="make a fixed batch dynamic")
    command.add_argument("--quick", action="store_true", help="short windows, labelled")
    command.add_argument("--again", action="store_true", help="measure again what is stored")
    command.add_argument("-o", "--output", metavar="FILE", help="also write an HTML report")
    command = add("fusion", run_fusion, "show which ONNX nodes became which layers, and why")
    command.add_argument(
        "models", nargs="+", metavar="MODEL",
        help="a model (path or zoo:NAME); or a plan: its id, or files of its layers and times",
    )  # fmt: skip
    command.add_argument("--onnx", metavar="FILE", help="the model that a plan's files came from")
    command.add_argument(
        "--profile",
        metavar="TIMES",
        help="layer times of the plan: an id, or the file of a record",
    )
    command.add_argument("--dynamic-batch", action="store_true", help="make a fixed batch dynamic")
    precision_arguments(command)
    _build_arguments(command)
    command.add_argument(
        "--batch", type=int, help="size of the batch axis; default 1, 8, 32, or 1 with --time"
    )
    _shapes_argument(command)
    command.add_argument(
        "--time", action="store_true", help="also time every layer, where the plan can run here"
    )
    command.add_argument("--explain", metavar="NAME", help="of one node, layer or group (G6)")
    command.add_argument("--layers", action="store_true", help="also list the layers")
    command.add_argument("-o", "--output", metavar="FILE", help="write both graphs as one page")
    command = add("compare", run_compare, "compare two measurements, or two plans by ONNX node")
    command.add_argument("a", metavar="A", help="the baseline: an id, or the file of a record")
    command.add_argument("b", metavar="B")
    command.add_argument(
        "--profiles",
        nargs=2,
        metavar=("A", "B"),
        help="of two plans: ids or record files of times",
    )
    command.add_argument("-o", "--output", metavar="FILE", help="of two plans: draw both there")
    command = add(
        "import", run_import, "take files of trtexec, TREx and ONNX Runtime into the store"
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="of one engine, or its folder")
    command.add_argument("--name", help="what to call the model; default: as the file or folder")
    command = add("export", run_export, "write a record as trtexec would")
    command.add_argument("record", metavar="RECORD", help="an id, or the file of a record")
    command.add_argument(
        "--as", dest="form", choices=("layers", "profile", "times"), help="default: what it is"
    )
    command.add_argument("-o", "--output", metavar="FILE", required=True)
    command = add("report", run_report, "write stored measurements as one offline HTML file")
    command.add_argument("models", nargs="*", metavar="MODEL", help="by name; default all")
    command.add_argument("-o", "--output", metavar="FILE", default="trtlab-report.html")
    command = add("netron", run_netron, "show the raw ONNX graph in Netron: one offline HTML file")
    _model_arguments(command)
    command.add_argument("-o", "--output", metavar="FILE", default="trtlab-netron.html")
    command = add("demo", run_demo, "sweep two networks and write an HTML report: about 2 minutes")
    command.add_argument("-o", "--output", metavar="FILE", default="trtlab-demo.html")
    command.add_argument("--again", action="store_true", help="measure again what is stored")
    command = add(
        "lab", run_lab, "open the workbench in JupyterLab", "print its command, start nothing"
    )
    command.add_argument("--no-browser", action="store_true", help="only serve")
    command.add_argument(
        "--kiosk", action="store_true", help="the screen alone, for a workshop: no code, no menus"
    )
    command.add_argument("--port", type=int, help="default: the first free one from 8888")
    return made


def _model_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="MODEL", help="a path, or zoo:NAME (trtlab models)")
    command.add_argument("--dynamic-batch", action="store_true", help="make a fixed batch dynamic")
    precision_arguments(command)


def _build_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--backend", help="tensorrt, tensorrt_rtx or onnxruntime; default: the "
                         "first that can")  # fmt: skip
    command.add_argument(
        "--optimization-level", metavar="LEVEL",
        help=f"TensorRT: 0 to 5; ONNX Runtime: {', '.join(OPTIMIZATION_LEVELS)}",
    )  # fmt: skip
    _provider_argument(command)
    tensorrt = command.add_argument_group(
        "TensorRT", "Names are TensorRT's own; a wrong one gets a list of the right ones."
    )
    add = tensorrt.add_argument
    add("--target", metavar="sm89,…", help="GPUs to build for; default: the one here, else sm89")
    add("--workspace", metavar="SIZE", help="limit of the workspace, as in 256MiB")
    add("--memory-pool", metavar="NAME:SIZE", action="append", default=[], help="another pool")
    add("--flag", metavar="NAME", action="append", default=[], help="a builder flag")
    add("--tf32", action=argparse.BooleanOptionalAction, help="may FP32 be rounded to TF32?")
    add("--avg-timing", metavar="N", type=int, help="runs to average a tactic's timing over")
    add("--tactic-sources", metavar="NAMES", help="where tactics may come from")
    add("--max-tactics", metavar="N", type=int, help="most tactics to try for a layer")
    add("--hardware-compatibility", metavar="LEVEL", help="such as AMPERE_PLUS")
    add("--dla-core", metavar="N", type=int, help="DLA core to use, with the GPU for the rest")
    add("--aux-streams", metavar="N", type=int, help="most streams beside the main one")
    add(
        "--plugin",
        metavar="FILE",
        action="append",
        default=[],
        help="shared library with plugins; loading it runs its code",
    )
    add("--no-timing-cache", dest="timing_cache", action="store_false", help="keep no timings")
    add("--verbosity", choices=VERBOSITIES, default="DETAILED", help="what the plan tells")


def _range_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch", metavar="1,8,32", help="batch: smallest, optimal, largest")
    _shapes_argument(command)
    for name in ("min", "opt", "max"):
        command.add_argument(
            f"--{name}-shapes", metavar="x:8x3x224x224,…", help="of a range: give all three"
        )


def _provider_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--provider", choices=("cpu", "cuda"), default="cpu")


def _shape_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--batch", type=int, help="size of the batch axis; default 1")
    _shapes_argument(command)


def _shapes_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument("--shapes", metavar="x:8x3x224x224,…", help="input shapes by name")


def _memory_and_seed_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--activation-cap", metavar="SIZE", help="limit of the activation arena")
    command.add_argument("--seed", type=int, default=0, help="seed of the random inputs")


def _run_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--threads", type=int, help="threads inside one inference")
    command.add_argument("--quick", action="store_true", help="short windows, labelled")
