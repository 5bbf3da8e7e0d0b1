"""The command that changes a model's precision: convert."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtlab.commands.answer import Answer, error_of, text_of, writable
from trtlab.commands.options import list_of
from trtlab.errors import SpecError
from trtlab.model.conversion import CALIBRATORS
from trtlab.terminal import progress_line

if TYPE_CHECKING:
    from trtlab.model.types import Model
    from trtlab.verbs.convert_within import Search


def precision_arguments(command: argparse.ArgumentParser) -> None:
    """Add what a command takes that converts its model first."""
    add = command.add_argument_group("precision").add_argument
    add("--precision", metavar="RECIPE", help="convert the model first: fp16, bf16, int8, fp8, "
        "int8-weights, int4-weights, or two joined, as int8+fp16")  # fmt: skip
    calibration_arguments(add)


def calibration_arguments(add: Any) -> None:
    """Add where ranges come from."""
    add("--calibration", metavar="DATA", help="for int8 and fp8: a folder or file of .npy or "
        ".npz, a zoo model's name (its training images), a table that --ranges wrote, or "
        "random")  # fmt: skip
    add("--samples", type=int, metavar="N", help="draw so many; default: all")


def convert_arguments(command: argparse.ArgumentParser) -> None:
    """Add the options of ``trtlab convert``."""
    add = command.add_argument
    add("model", metavar="MODEL", help="a path, or zoo:NAME (trtlab models)")
    add("recipe", metavar="RECIPE", help="fp16, bf16, int8, fp8, int8-weights, int4-weights, or "
        "two joined, as int8+fp16")  # fmt: skip
    calibration_arguments(add)
    add("--seed", type=int, default=0, help="which samples are drawn")
    add("--keep", metavar="NODE,…", help="nodes to leave alone, by name or pattern (*)")
    add("--keep-ops", metavar="OP,…", help="operators to leave alone")
    add("--no-keep-io", dest="keep_io", action="store_false",
        help="let inputs and outputs change their types too")  # fmt: skip
    add("--per-tensor", dest="per_channel", action="store_false",
        help="one scale for a whole weight, not one for each channel")  # fmt: skip
    add("--asymmetric", dest="symmetric", action="store_const", const=False,
        help="zero points other than 0: ONNX Runtime's CPU only")  # fmt: skip
    add("--activations", choices=("int8", "uint8"), default="int8", help="uint8: ONNX Runtime's "
        "CPU only, where it is faster")  # fmt: skip
    add("--calibrator", choices=CALIBRATORS, default="minmax", help="how ranges are chosen")
    add("--clip", action="store_true", help="cut weights beyond FP16's range to it")
    add("--tool", choices=("modelopt",), help="NVIDIA's ModelOpt (make modelopt)")
    add("--ranges", metavar="FILE", help="also write the calibration table")
    add("--dynamic-batch", action="store_true", help="make a fixed batch dynamic")
    add("-o", "--output", metavar="FILE", help="also write the ONNX file there")
    group = command.add_argument_group(
        "automatic", "Find the fewest nodes to keep back for an allowed loss of top-1."
    )
    group.add_argument("--auto", action="store_true", help="search for nodes to keep")
    group.add_argument("--max-drop", type=float, metavar="POINTS",
                       help="allowed loss of top-1 in points; default 0.5")  # fmt: skip
    group.add_argument("--data", metavar="DATA", help="labelled data to judge by, as for accuracy")
    group.add_argument("--labels", metavar="FILE", help="its labels, as for accuracy")


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of a conversion, as ``trtlab.convert`` takes them."""
    return {
        "calibration": options.calibration,
        "samples": options.samples,
        "seed": options.seed,
        "keep": list_of(options.keep),
        "keep_ops": list_of(options.keep_ops),
        "keep_io": options.keep_io,
        "per_channel": options.per_channel,
        "symmetric": options.symmetric,
        "activations": options.activations,
        "calibrator": options.calibrator,
        "clip": options.clip,
        "tool": options.tool,
    }


def run_convert(options: argparse.Namespace) -> Answer:
    """Run ``trtlab convert``."""
    from trtlab.store import write_file
    from trtlab.verbs.convert import convert
    from trtlab.verbs.convert_within import convert_within
    from trtlab.verbs.export import export
    from trtlab.verbs.load import load, with_dynamic_batch
    from trtlab.views.tables import conversion_table

    target = writable(options.output, [options.model])
    table = writable(options.ranges, [options.model])
    search = None
    searching = (options.max_drop, options.data, options.labels)
    if not options.auto and any(value is not None for value in searching):
        raise SpecError(
            "--max-drop, --data and --labels belong to the search for nodes to keep.",
            hint="Add --auto, or leave them out.",
        )
    with progress_line() as progress:
        model = load(options.model, progress=progress)
        if options.dynamic_batch:
            model = with_dynamic_batch(model, progress=progress)
        if options.auto:
            search = convert_within(
                model,
                options.recipe,
                max_drop=0.5 if options.max_drop is None else options.max_drop,
                data=options.data,
                labels=options.labels,
                progress=progress,
                **settings_of(options),
            )
            made = search.model
        else:
            made = convert(model, options.recipe, progress=progress, **settings_of(options))
    calibrated = made.conversion is not None and made.conversion.calibration is not None
    if table is not None and not calibrated:
        raise SpecError(
            f"{options.recipe} needs no ranges, so there is no table to write.",
            hint="Leave --ranges out.",
        )
    error = None
    if target is not None:
        error = error_of(lambda: write_file(target, Path(made.path).read_bytes(), "The model"))
    if table is not None:
        error = error_of(lambda: export(made, table)) or error
    report = made.conversion
    text = f"{made.name} is in {made.recipe} already" if report is None else f"{report!r}"
    if report is not None and report.kept:
        text += f"\n\n{conversion_table(report).text()}"
    if search is not None:
        text = f"{search!r}\n\n{text}"
    text += f"\n\nfile  {text_of(target or Path(made.path))}"
    return Answer(_data(made, search), text, 0, error)


def _data(model: Model, search: Search | None) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "model": model.name,
        "precision": model.recipe,
        "hash": model.hash,
        "parent": model.parent,
        "path": text_of(Path(model.path)),
        "weight_bytes": model.weight_bytes,
        "conversion": model.conversion,
        "search": None if search is None else search.trials,
    }
