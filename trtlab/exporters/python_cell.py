"""A run → the notebook cell that makes it again, by public calls alone.

Options at their default are not printed. Values are printed by ``repr``, so that no name in a
model can become code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from itertools import product
from typing import Any

from trtlab.errors import SpecError
from trtlab.model.printing import printable
from trtlab.record import Plan, Run
from trtlab.spec import BUILD_ONLY, BuildConfig, Profile, RunConfig, Setup, ShapeRange, profile_of

_WIDTH = 79
_NAMES = {"workspace_bytes": "workspace", "activation_cap_bytes": "activation_cap"}
"""Fields whose argument is called otherwise."""

NOT_TOLD = (
    "Only files about this engine were read: add the shapes, limits and flags that it was built "
    "with."
)
"""Of a plan that other tools' files tell of, no more of its settings is known."""

_SAID_BY_SETUP = ("backend", "target", "profiles", "workspace_bytes", "tf32", "provider")
"""Fields of a build that ``Setup`` has too; its words are shorter."""


def python_cell(run: Run) -> str:
    """Return a cell that builds, measures, profiles and judges what the run has of these."""
    setup = run.setup
    lines = ["import trtlab", ""]
    if run.line.origin is None:
        lines += comment(f"Made elsewhere: give the file of {run.model.name} here.")
    model = "model"
    lines.append(call("model", "load", run.line.origin or f"{run.model.name}.onnx"))
    if run.recipe != run.model.recipe:
        model = "converted"
        ranges = _changed({"calibration": setup.calibration}, {"calibration": None})
        lines.append(call(model, "convert", _Name("model"), run.recipe, **ranges))
    if run.failure is not None:
        lines += comment(f"This build failed: {run.failure.message}")
    if run.plan is not None and run.plan.plan_bytes is None:
        lines += comment(NOT_TOLD)
    lines.append(call("plan", "build", _Name(model), **_build(setup, run.plan)))
    ran = "plan"
    if setup.runner not in (None, setup.builder):
        ran = "host"
        other = run.ran.config if run.ran else BuildConfig(provider=setup.provider)
        arguments = {"backend": setup.runner, **_of_config(other, ("backend", "profiles"))}
        lines.append(call(ran, "build", _Name(model), **arguments))
    lines += _what_ran(run, ran, model)
    if run.plan is not None and run.plan.layers is not None:
        lines.append(call("fusion", "fusion", _Name("plan")))
    return "\n".join(lines) + "\n"


def sweep_cell(setups: Sequence[Setup], origin: str) -> str:
    """Return a cell that makes several runs of one model, as *Sweep* does.

    Args:
        setups: In their order.
        origin: What ``load`` takes.
    """
    lines = ["import trtlab", ""]
    values = _asked(setups)
    same = {name: found[0] for name, found in values.items() if all(f == found[0] for f in found)}
    varied = {name: _unique(found) for name, found in values.items() if name not in same}
    columns = [values[name] for name in varied]
    points = [dict(zip(varied, each, strict=True)) for each in zip(*columns, strict=True)]
    lines.append("runs = [")
    own: dict[str, Any] = {name: _Name(name) for name in varied}
    rest = [f"    for {name} in {_shown(found)}" for name, found in varied.items()]
    if points != [dict(zip(varied, each, strict=True)) for each in product(*varied.values())]:
        own = {"**": _Name("settings")}
        rest = ["    for settings in (", *(f"        {_shown(each)}," for each in points), "    )"]
    lines += [f"    {line}" for line in call("", "run", origin, **same, **own).split("\n")]
    return "\n".join([*lines, *rest, "]"]) + "\n"


def _what_ran(run: Run, ran: str, model: str) -> list[str]:
    """Return the calls that measure, profile and judge, and for each that is not there why."""
    setup, lines = run.setup, list[str]()
    if run.measurement is None:
        lines += comment(f"Not measured: {run.why_no('measurement')}")
    else:
        arguments = _of_run(run.measurement.run)
        lines.append(call("times", "benchmark", _Name(ran), **arguments))
    if run.profile is not None:
        arguments = _of_run(run.profile.run)
        lines.append(call("layers", "profile", _Name(ran), **arguments))
    if run.accuracy is not None:
        subject = ran if run.accuracy.plan is not None else model
        data = [] if setup.data is None else [setup.data]
        provider = _changed({"provider": setup.provider}, {"provider": "cpu"})
        lines.append(call("accuracy", "accuracy", _Name(subject), *data, **provider))
    return lines


def _build(setup: Setup, plan: Plan | None) -> dict[str, Any]:
    """Return what ``trtlab.build`` is given: the setup's words, and what only the plan knows."""
    arguments: dict[str, Any] = {"backend": setup.builder, **setup.build_settings}
    if plan is None:
        return arguments
    if plan.config.profiles and plan.config.profiles != _profiles(setup, plan):
        for name in ("batch", "shapes"):
            arguments.pop(name, None)
        arguments["profiles"] = [_plain(profile) for profile in plan.config.profiles]
    # What a build is for when nothing is said depends on the machine.
    target = plan.config.target
    if target != ("current",):
        arguments["target"] = target[0] if len(target) == 1 else target
    return arguments | _of_config(plan.config, _SAID_BY_SETUP)


def _profiles(setup: Setup, plan: Plan) -> tuple[Profile, ...] | None:
    """Return the optimization profiles that the setup's own words give."""
    shapes = {name: ShapeRange(shape, shape, shape) for name, shape in setup.shapes.items()}
    try:
        return (profile_of(plan.inputs, setup.batches, shapes),)
    except SpecError:
        return None


def _of_config(config: BuildConfig, without: Sequence[str]) -> dict[str, Any]:
    return {
        _NAMES.get(each.name, each.name): getattr(config, each.name)
        for each in fields(config)
        if each.name not in without and getattr(config, each.name) != _default(each)
    }


def _of_run(run: RunConfig) -> dict[str, Any]:
    return {
        _NAMES.get(each.name, each.name): getattr(run, each.name)
        for each in fields(run)
        if getattr(run, each.name) != _default(each)
    }


def _asked(setups: Sequence[Setup]) -> dict[str, list[Any]]:
    """Return by argument of ``trtlab.run`` its value in each setup; what is never set is left out.

    The builder is always there: left out it would be another one on another machine.
    """
    found = {}
    for each in fields(Setup):
        values = [getattr(setup, each.name) for setup in setups]
        if each.name == "runner":
            values = [BUILD_ONLY if value is None else value for value in values]
        if each.name == "workspace_bytes":
            values = [_size_text(value) for value in values]
        default = None if each.name in ("builder", "runner") else _default(each)
        if any(value != default for value in values):
            found[_NAMES.get(each.name, each.name)] = values
    return found


def _size_text(size: int | None) -> str | int | None:
    """Return ``256MiB`` for a whole number of MiB, else the bytes."""
    return size if size is None or size % 2**20 else f"{size // 2**20}MiB"


def _default(each: Any) -> object:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def _changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != defaults[name]}


def _unique(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


# Text


class _Name(str):
    """A name in the cell, printed as it is."""

    __slots__ = ()


def comment(text: str) -> list[str]:
    """Return a remark as a line that nothing in the text can end."""
    return [f"# {printable(text)}"]


def call(target: str, verb: str, /, *given: Any, **named: Any) -> str:
    """Return ``target = trtlab.verb(…)``, in several lines where one would be too long."""
    parts = [_shown(value) for value in given]
    for name, value in named.items():
        text = _size(value) if name in ("workspace", "activation_cap") else _shown(value)
        parts.append(f"**{text}" if name == "**" else f"{name}={text}")
    start = f"{target} = trtlab.{verb}(" if target else f"trtlab.{verb}("
    line = f"{start}{', '.join(parts)})"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([start, *(f"    {part}," for part in parts), ")"])


def _shown(value: Any) -> str:
    if isinstance(value, _Name):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, Mapping):
        return repr(_plain(value))
    text = repr(value)
    # Double quotes as the project writes them, where no quote is inside.
    return f'"{text[1:-1]}"' if isinstance(value, str) and '"' not in text else text


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping of shapes with plain tuples, as people write them."""
    return {
        name: tuple(map(tuple, each)) if isinstance(each, ShapeRange) else each
        for name, each in value.items()
    }


def _size(value: Any) -> str:
    """Print a size as ``"256MiB"`` where that is exactly it."""
    if isinstance(value, int):
        for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value % factor == 0:
                return f'"{value // factor}{unit}"'
    return _shown(value)
