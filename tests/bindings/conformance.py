"""Whether the classes of TensorRT fit the hand-written Protocols: one mypy run says where not."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.bindings.stubs import BINDINGS, PROTOCOLS, ROOT

SOURCE = ROOT.joinpath(*BINDINGS.split(".")).with_suffix(".py")

# The classes that a probing Protocol is about; "" is the module itself.
PROBED = {
    "HasComputeCapability": "IBuilderConfig",
    "HasEngineStat": "ICudaEngine",
    "HasEngineStatNames": "",
    "HasEngineValidity": "Runtime",
    "HasRtxNames": "",
    "HasStreamCapture": "IExecutionContext",
}
NOT_EVERYWHERE = {"ComputeCapability", "EngineStat"}
"""Protocols that only stand behind a probing one."""

CONFIG = """
[mypy]
strict = true
show_error_codes = true
[mypy-numpy.*]
follow_imports = skip
[mypy-tensorrt.*,tensorrt_rtx.*]
ignore_errors = true
"""


def conformance(module: str, protocols: str = BINDINGS, *, without: frozenset[str] = frozenset()):
    """A file that mypy accepts when every class of ``module`` fits its Protocol.

    One line a Protocol, so that a line number names it. A module that stands for a Protocol is
    compared in names and signatures as an object is; its classes count as callables.
    """
    lines = [f"import {module} as real, {protocols} as ours"]
    for name, protocol in (*PROTOCOLS.items(), *((name, own) for own, name in PROBED.items())):
        if protocol in without:
            continue
        if name:
            lines.append(f"def _{len(lines)}(x: real.{name}) -> ours.{protocol}: return x")
        else:
            lines.append(f"_{len(lines)}: ours.{protocol} = real")
    lines.append("module: ours.Module = real")
    return "\n".join(lines) + "\n"


def protocol_of(conformance: str, line: int) -> str:
    """Which Protocol a line of a conformance file is about."""
    return re.findall(r"ours\.(\w+)", conformance.splitlines()[line - 1])[0]


def protocols_of(source: str) -> dict[str, ast.ClassDef]:
    """The Protocols of a file by name."""
    found = (each for each in ast.parse(source).body if isinstance(each, ast.ClassDef))
    return {each.name: each for each in found}


def names_of(protocol: ast.ClassDef) -> set[str]:
    """What a Protocol says there is, without what belongs to Python."""
    names = set()
    for each in protocol.body:
        if isinstance(each, ast.FunctionDef):
            names.add(each.name)
        elif isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            names.add(each.target.id)
    return {name for name in names if not name.startswith("__") or name == "__version__"}


def mypy(folder: Path, files: dict[str, str], stubs: Path) -> dict[str, list[str]]:
    """Write files, check them in one run, and return the errors of each as ``line: message``."""
    (folder / "mypy.ini").write_text(CONFIG)
    for name, text in files.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--no-error-summary"]
    done = subprocess.run(
        [*command, "--cache-dir", str(folder / "cache"), "--no-pretty", *files],
        cwd=folder,
        env={**os.environ, "MYPYPATH": os.pathsep.join((str(stubs), str(ROOT), str(folder)))},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    found = re.findall(r"^(\S+?):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) or (done.returncode and not found):
        raise RuntimeError(f"mypy did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    errors: dict[str, list[str]] = {name: [] for name in files}
    for file, line, message in found:
        errors.setdefault(file, []).append(f"{line}: {message}")
    return errors


def installed(module: str) -> bool:
    """Whether a module could be imported."""
    return importlib.util.find_spec(module) is not None
